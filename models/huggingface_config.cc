#include "models/huggingface_config.h"

#include <algorithm>
#include <array>
#include <utility>

#include "models/huggingface_fields.h"

namespace leasehold {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kConfigDepth = 16;
constexpr int64_t kLargestPosition = int64_t{1} << 40;  // complete_model_config is stricter
constexpr const char* kTokenIds[] = {"bos_token_id", "eos_token_id", "pad_token_id",
                                     "unk_token_id", "sep_token_id", "cls_token_id"};

// Passes over the fields that do not change the logits that a model computes from tokens.
void pass_over_harmless(ConfigFields& fields) {
  // Bookkeeping, and settings for loading and running the model.
  fields.pass_over({"_name_or_path",
                    "name_or_path",
                    "_commit_hash",
                    "_attn_implementation_autoset",
                    "_attn_implementation",
                    "_attn_implementation_internal",
                    "attn_implementation",
                    "_flash_attn_2_enabled",
                    "_experts_implementation_internal",
                    "use_flash_attn",
                    "use_flash_attention",
                    "use_flash_attention_2",
                    "_from_model_config",
                    "torch_dtype",
                    "dtype",
                    "transformers_version",
                    "transformers_weights",
                    "use_cache",
                    "output_past",
                    "use_return_dict",
                    "gradient_checkpointing",
                    "chunk_size_feed_forward",
                    "keys_to_ignore_at_inference",
                    "torchscript",
                    "use_bfloat16",
                    "tf_legacy_loss",
                    "xla_device",
                    "is_decoder",
                    "loss_type",
                    "transformers.js_config",
                    "is_llama_config",
                    "unsloth_fixed",
                    "unsloth_version",
                    "unsloth_optimized",
                    "model_max_length",
                    "tokenizer_class",
                    "tokenizer_path",
                    "max_window_layers"});
  // The making and training of the model.
  fields.pass_over({"initializer_range", "finetuning_task", "neftune_noise_alpha",
                    "rescale_prenorm_residual", "z_loss_weight", "router_jitter_noise"});
  // Text generation.
  fields.pass_over({"task_specific_params",
                    "prefix",
                    "decoder_start_token_id",
                    "output_attentions",
                    "output_hidden_states",
                    "output_scores",
                    "return_dict",
                    "return_dict_in_generate",
                    "max_length",
                    "max_new_tokens",
                    "min_length",
                    "do_sample",
                    "early_stopping",
                    "num_beams",
                    "num_beam_groups",
                    "diversity_penalty",
                    "temperature",
                    "top_k",
                    "top_p",
                    "typical_p",
                    "repetition_penalty",
                    "length_penalty",
                    "no_repeat_ngram_size",
                    "encoder_no_repeat_ngram_size",
                    "bad_words_ids",
                    "num_return_sequences",
                    "forced_bos_token_id",
                    "forced_eos_token_id",
                    "remove_invalid_values",
                    "exponential_decay_length_penalty",
                    "suppress_tokens",
                    "begin_suppress_tokens"});
  // Settings of heads for other tasks, whose weights would be refused, and GPT-2's older ones for
  // them.
  fields.pass_over({"id2label", "label2id", "num_labels", "_num_labels", "problem_type",
                    "summary_type", "summary_use_proj", "summary_activation",
                    "summary_proj_to_labels", "summary_first_dropout", "predict_special_tokens"});
}

// Reads switches and factors of other models, which must have the value that disables them.
void read_absent_parts(ConfigFields& fields) {
  for (const char* name :
       {"is_encoder_decoder", "tie_encoder_decoder", "add_cross_attention", "rope_interleaved",
        "use_qk_norm", "qk_norm", "qk_layernorm", "qkv_bias", "use_bias", "bias", "lm_head_bias",
        "parallel_attn", "use_parallel_residual", "alibi"}) {
    fields.fixed(name, {false});
  }
  for (const char* name : {"logit_scale", "logits_scaling", "embedding_multiplier",
                           "residual_multiplier", "partial_rotary_factor", "rotary_pct"}) {
    fields.fixed(name, {1});
  }
  fields.fixed("pruned_heads", {json::object(), json::array()});
}

// Reads the kind of head that the model has, if the file names it: other heads have weights that
// Leasehold lacks.
Status read_architecture(ConfigFields& fields, std::initializer_list<std::string_view> known) {
  if (!fields.has("architectures")) return ok_status();
  const JsonCursor list = fields.at("architectures");
  LEASEHOLD_RETURN_IF_ERROR(list.expect_array());
  for (size_t i = 0; i < list.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string name, list.element(i).string());
    if (std::ranges::find(known, name) != known.end()) continue;
    fields.refuse("architectures", fmt::format("Leasehold has {}", fmt::join(known, ", ")));
    break;
  }
  return ok_status();
}

Status read_gpt2(ConfigFields& fields, ModelConfig& config) {
  LEASEHOLD_RETURN_IF_ERROR(read_architecture(fields, {"GPT2LMHeadModel", "GPT2Model"}));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("n_layer", config.layers, "num_hidden_layers"));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("n_embd", config.hidden, "hidden_size"));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("n_head", config.heads, "num_attention_heads"));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("n_positions", config.sequence, "max_position_embeddings"));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("vocab_size", config.vocab));
  if (fields.has("n_inner")) LEASEHOLD_RETURN_IF_ERROR(fields.size("n_inner", config.ffn));
  fields.fixed("n_ctx", {config.sequence},
               fmt::format("it means the same as \"n_positions\", which is {}", config.sequence));
  // These are names of one function; the last two round it in another order.
  fields.fixed("activation_function",
               {"gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"});
  fields.fixed("scale_attn_weights", {true});
  fields.fixed("scale_attn_by_inverse_layer_idx", {false});
  fields.fixed("reorder_and_upcast_attn", {false});
  fields.fixed("tie_word_embeddings", {true});
  fields.fixed("n_special", {0});
  config.tied = true;
  config.norm_eps = 1e-5;
  LEASEHOLD_RETURN_IF_ERROR(fields.number("layer_norm_epsilon", config.norm_eps));

  std::array<double, 3> dropout = {0.1, 0.1, 0.1};
  LEASEHOLD_RETURN_IF_ERROR(fields.number("embd_pdrop", dropout[0]));
  LEASEHOLD_RETURN_IF_ERROR(fields.number("attn_pdrop", dropout[1]));
  LEASEHOLD_RETURN_IF_ERROR(fields.number("resid_pdrop", dropout[2]));
  if (dropout[0] != dropout[1] || dropout[0] != dropout[2]) {
    fields.refuse(fmt::format(
        "embd_pdrop {}, attn_pdrop {} and resid_pdrop {} differ: Leasehold has one model.dropout; "
        "write one value for all (it only matters to training)",
        dropout[0], dropout[1], dropout[2]));
  }
  config.dropout = dropout[0];
  return ok_status();
}

// Returns true for rope settings that scale nothing: "linear" and "dynamic" with factor 1, and
// "default" with factor 1 or none.
bool scales_nothing(const JsonCursor& rope, const std::string& type) {
  if (type != "default" && type != "linear" && type != "dynamic") return false;
  if (!rope.has("factor") || rope.field("factor").is_null()) return type == "default";
  const Result<double> factor = rope.field("factor").number(0, 1e30);
  return factor.ok() && *factor == 1;
}

Status read_llama3_rope(const JsonCursor& rope, ModelConfig& config) {
  for (const char* required :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    if (!rope.has(required)) return rope.bad(fmt::format("the field '{}' is missing", required));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(config.rope_factor, rope.field("factor").number(1, 1e6));
  LEASEHOLD_ASSIGN_OR_RETURN(config.rope_low_freq_factor,
                             rope.field("low_freq_factor").number(0, 1e30));
  LEASEHOLD_ASSIGN_OR_RETURN(config.rope_high_freq_factor,
                             rope.field("high_freq_factor").number(0, 1e30));
  LEASEHOLD_ASSIGN_OR_RETURN(
      config.rope_original_sequence,
      rope.field("original_max_position_embeddings").integer(1, kLargestPosition));
  return ok_status();
}

// Reads {"rope_type": "llama3", "factor": 8, ...}, with the type also under its older name, and
// settings that scale nothing. Version 5 of transformers keeps theta here.
Status read_rope(ConfigFields& fields, const std::string& name, ModelConfig& config) {
  if (!fields.has(name)) return ok_status();
  const json& members = fields.value(name);
  const JsonCursor rope = fields.at(name);
  if (!members.is_object()) return rope.bad("an object is expected");
  if (rope.has("rope_theta") && !rope.field("rope_theta").is_null()) {
    LEASEHOLD_ASSIGN_OR_RETURN(config.rope_theta, rope.field("rope_theta").number(0, 1e30));
  }
  const char* const type_name = rope.has("rope_type") ? "rope_type" : "type";
  std::string type = "default";
  if (rope.has(type_name)) {
    LEASEHOLD_ASSIGN_OR_RETURN(type, rope.field(type_name).string());
  } else if (rope.has("factor")) {
    return rope.bad("the field 'rope_type' is missing");
  }
  if (type != "llama3" && !scales_nothing(rope, type)) {
    fields.refuse(name,
                  "Leasehold has rope_type \"llama3\", \"default\", and any other with factor 1 "
                  "that is \"linear\" or \"dynamic\"");
    return ok_status();
  }
  for (const auto& [member, value] : members.items()) {
    constexpr std::string_view kKnown[] = {"type",
                                           "rope_type",
                                           "rope_theta",
                                           "factor",
                                           "low_freq_factor",
                                           "high_freq_factor",
                                           "original_max_position_embeddings"};
    if (std::ranges::count(kKnown, member) > 0 || value.is_null()) continue;
    if (member == "partial_rotary_factor" && value == 1) continue;
    fields.refuse(
        fmt::format("\"{}.{}\": {} is not supported: it could change what the model "
                    "computes",
                    name, member, value.dump()));
  }
  return type == "llama3" ? read_llama3_rope(rope, config) : ok_status();
}

// Refuses windows that are smaller than the text. With a larger window attention covers all
// positions.
Status read_sliding_window(ConfigFields& fields, const ModelConfig& config) {
  bool used = true;
  LEASEHOLD_RETURN_IF_ERROR(fields.flag("use_sliding_window", used));
  if (fields.has("sliding_window") && used) {
    LEASEHOLD_ASSIGN_OR_RETURN(const int64_t window,
                               fields.at("sliding_window").integer(0, INT64_MAX));
    if (window < config.sequence) {
      fields.refuse(
          "sliding_window",
          fmt::format("Leasehold attends to all positions, {} in this model", config.sequence));
    }
  }
  if (!fields.has("layer_types")) return ok_status();
  const json& types = fields.value("layer_types");
  const bool all_full =
      std::ranges::all_of(types, [](const json& type) { return type == "full_attention"; });
  if (!all_full) fields.refuse("layer_types", "Leasehold has \"full_attention\" in all layers");
  return ok_status();
}

Status read_llama(ConfigFields& fields, ModelConfig& config) {
  LEASEHOLD_RETURN_IF_ERROR(
      read_architecture(fields, {"LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM"}));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("num_hidden_layers", config.layers));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("hidden_size", config.hidden));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("num_attention_heads", config.heads));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("intermediate_size", config.ffn));
  LEASEHOLD_RETURN_IF_ERROR(
      fields.size("max_position_embeddings", config.sequence, "max_sequence_length"));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("vocab_size", config.vocab));
  if (fields.has("num_key_value_heads"))
    LEASEHOLD_RETURN_IF_ERROR(fields.size("num_key_value_heads", config.kv_heads));
  const int64_t head_dim = config.hidden / config.heads;
  fields.fixed("head_dim", {head_dim},
               fmt::format("Leasehold has hidden_size / num_attention_heads = {} only", head_dim));
  fields.fixed("hidden_act", {"silu", "swish"});  // two names of one function
  fields.fixed("attention_bias", {false});
  fields.fixed("mlp_bias", {false});
  fields.fixed("attention_dropout", {0.0});
  fields.fixed("pretraining_tp", {1});
  LEASEHOLD_RETURN_IF_ERROR(fields.flag("tie_word_embeddings", config.tied));
  config.norm_eps = 1e-6;  // the default of LlamaConfig
  LEASEHOLD_RETURN_IF_ERROR(fields.number("rms_norm_eps", config.norm_eps));
  config.rope_theta = 10000;
  LEASEHOLD_RETURN_IF_ERROR(fields.number("rope_theta", config.rope_theta));
  LEASEHOLD_RETURN_IF_ERROR(read_rope(fields, "rope_scaling", config));
  LEASEHOLD_RETURN_IF_ERROR(read_rope(fields, "rope_parameters", config));
  return read_sliding_window(fields, config);
}

// Returns the ids unchanged, for an export to write again: {} or {"eos_token_id": [1, 2], ...}.
// Null means that the model has none; transformers replaces a missing field by its own default.
Result<std::string> read_token_ids(ConfigFields& fields) {
  json ids = json::object();
  for (const char* name : kTokenIds) {
    if (!fields.has(name)) {
      if (fields.holds(name)) ids[name] = nullptr;
      continue;
    }
    const json& value = fields.value(name);
    const bool is_list = value.is_array() && std::ranges::all_of(value, [](const json& id) {
                           return id.is_number_integer();
                         });
    if (!value.is_number_integer() && !is_list)
      return fields.at(name).bad("an id, or a list of ids, is expected");
    ids[name] = value;
  }
  return ids.dump();
}

ordered_json encode_gpt2(const ModelConfig& config) {
  ordered_json root;
  root["architectures"] = {"GPT2LMHeadModel"};
  root["model_type"] = "gpt2";
  root["n_layer"] = config.layers;
  root["n_embd"] = config.hidden;
  root["n_head"] = config.heads;
  root["n_positions"] = config.sequence;
  root["n_inner"] = config.ffn == 4 * config.hidden ? ordered_json() : ordered_json(config.ffn);
  root["vocab_size"] = config.vocab;
  root["activation_function"] = "gelu_new";
  root["layer_norm_epsilon"] = config.norm_eps;
  for (const char* name : {"attn_pdrop", "embd_pdrop", "resid_pdrop"}) root[name] = config.dropout;
  root["tie_word_embeddings"] = true;
  return root;
}

ordered_json encode_llama(const ModelConfig& config) {
  ordered_json root;
  root["architectures"] = {"LlamaForCausalLM"};
  root["model_type"] = "llama";
  root["num_hidden_layers"] = config.layers;
  root["hidden_size"] = config.hidden;
  root["num_attention_heads"] = config.heads;
  root["num_key_value_heads"] = config.kv_heads;
  root["head_dim"] = config.head_dim();
  root["intermediate_size"] = config.ffn;
  root["max_position_embeddings"] = config.sequence;
  root["vocab_size"] = config.vocab;
  root["hidden_act"] = "silu";
  root["rms_norm_eps"] = config.norm_eps;
  root["rope_theta"] = config.rope_theta;
  root["rope_scaling"] = nullptr;
  if (config.rope_factor != 0) {
    root["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", config.rope_factor},
                            {"low_freq_factor", config.rope_low_freq_factor},
                            {"high_freq_factor", config.rope_high_freq_factor},
                            {"original_max_position_embeddings", config.rope_original_sequence}};
  }
  root["attention_bias"] = false;
  root["mlp_bias"] = false;
  root["attention_dropout"] = 0.0;
  root["tie_word_embeddings"] = config.tied;
  return root;
}

}  // namespace

Result<HuggingFaceConfig> parse_huggingface_config(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_strict_json(text, file, kConfigDepth));
  if (!root.is_object()) return error(Code::kBadData, "{}: an object is expected", file);
  ConfigFields fields(root, file);
  HuggingFaceConfig config;
  ModelConfig& model = config.model;
  if (!fields.has("model_type"))
    return error(Code::kBadData, "{}: the field 'model_type' is missing", file);
  LEASEHOLD_ASSIGN_OR_RETURN(model.family, fields.at("model_type").string());
  if (model.family != "gpt2" && model.family != "llama") {
    return error(Code::kBadConfig,
                 "{}: \"model_type\": \"{}\" is not supported: Leasehold has \"gpt2\" and "
                 "\"llama\"",
                 file, model.family);
  }
  pass_over_harmless(fields);
  read_absent_parts(fields);
  LEASEHOLD_RETURN_IF_ERROR(model.family == "gpt2" ? read_gpt2(fields, model)
                                                   : read_llama(fields, model));
  LEASEHOLD_ASSIGN_OR_RETURN(config.token_ids, read_token_ids(fields));
  Result<ModelConfig> complete = complete_model_config(model);
  if (!complete.ok()) fields.refuse(complete.status().message());
  LEASEHOLD_RETURN_IF_ERROR(fields.finish(config.passed_over));
  model = *complete;
  return config;
}

std::string encode_huggingface_config(const ModelConfig& config, const std::string& dtype,
                                      const std::string& token_ids) {
  ordered_json root = config.family == "llama" ? encode_llama(config) : encode_gpt2(config);
  root["torch_dtype"] = dtype;
  root.update(ordered_json::parse(token_ids));
  return root.dump(2) + "\n";
}

}  // namespace leasehold
