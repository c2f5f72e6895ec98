#include "models/huggingface_config.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kConfigDepth = 16;
constexpr int64_t kLargest = int64_t{1} << 40;  // complete_model_config is stricter

// What does not change the logits of a model that is given tokens: how text is generated, which ids
// mean what, how it was trained, how the library runs it.
constexpr std::string_view kHarmless[] = {
    "_name_or_path", "_commit_hash", "_attn_implementation_autoset", "architectures", "model_type",
    "torch_dtype", "dtype", "transformers_version", "use_cache", "bos_token_id", "eos_token_id",
    "pad_token_id", "unk_token_id", "sep_token_id", "cls_token_id", "decoder_start_token_id",
    "initializer_range", "task_specific_params", "id2label", "label2id", "num_labels",
    "problem_type", "finetuning_task", "tokenizer_class", "prefix", "output_attentions",
    "output_hidden_states", "output_scores", "return_dict", "return_dict_in_generate",
    "torchscript", "use_bfloat16", "tf_legacy_loss", "gradient_checkpointing", "is_decoder",
    "chunk_size_feed_forward", "keys_to_ignore_at_inference", "max_length", "min_length",
    "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty",
    "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
    "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
    "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
    // Of heads for other tasks, whose weights would be refused.
    "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
    "summary_first_dropout"};

// The members of config.json, each asked for once; what nobody asked for is refused at the end.
class Fields {
 public:
  Fields(const json& root, const std::string& file) : root_(root), top_(root, file), file_(file) {
    known_.insert(std::begin(kHarmless), std::end(kHarmless));
  }

  // Absent and null are the same to transformers.
  bool has(const std::string& name) {
    known_.insert(name);
    const auto found = root_.find(name);
    return found != root_.end() && !found->is_null();
  }
  JsonCursor at(std::string_view name) const { return top_.field(name); }

  Status size(const char* name, int64_t& value) {
    if (!has(name)) return error(Code::kBadData, "{}: the field '{}' is missing", file_, name);
    LEASEHOLD_ASSIGN_OR_RETURN(value, at(name).integer(1, kLargest));
    return ok_status();
  }
  Status number(const char* name, double& value) {
    if (!has(name)) return ok_status();
    LEASEHOLD_ASSIGN_OR_RETURN(value, at(name).number(0, 1e30));
    return ok_status();
  }
  Status flag(const char* name, bool& value) {
    if (!has(name)) return ok_status();
    LEASEHOLD_ASSIGN_OR_RETURN(value, at(name).boolean());
    return ok_status();
  }
  // One of `values` where it is given at all.
  Status fixed(const char* name, std::initializer_list<json> values) {
    if (!has(name)) return ok_status();
    const json& value = root_.at(name);
    for (const json& allowed : values) {
      if (value == allowed) return ok_status();
    }
    return unsupported(name, fmt::format("Leasehold has {} only", values.begin()->dump()));
  }
  Status unsupported(const std::string& name, const std::string& why) const {
    std::string value = root_.at(name).dump(-1, ' ', true, json::error_handler_t::replace);
    if (value.size() > 60) value = value.substr(0, 57) + "...";
    return error(Code::kBadConfig, "{}: \"{}\": {} is not supported: {}", file_, name, value, why);
  }
  Status refuse_others() const {
    for (const auto& [name, value] : root_.items()) {
      if (known_.contains(name)) continue;
      return unsupported(name,
                         "Leasehold does not know this field, and it could change what the model "
                         "computes; if it does not, remove it from the file");
    }
    return ok_status();
  }
  const std::string& file() const { return file_; }

 private:
  const json& root_;
  JsonCursor top_;
  const std::string& file_;
  std::set<std::string, std::less<>> known_;
};

// Which head, if the file says so: others come with weights that Leasehold has not.
Status check_architecture(Fields& fields, std::initializer_list<std::string_view> known) {
  if (!fields.has("architectures")) return ok_status();
  const JsonCursor list = fields.at("architectures");
  LEASEHOLD_RETURN_IF_ERROR(list.expect_array());
  for (size_t i = 0; i < list.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string name, list.element(i).string());
    if (std::ranges::find(known, name) == known.end()) {
      return fields.unsupported("architectures",
                                fmt::format("Leasehold has {}", fmt::join(known, ", ")));
    }
  }
  return ok_status();
}

Status read_common(Fields& fields) {
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("is_encoder_decoder", {false}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("tie_encoder_decoder", {false}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("add_cross_attention", {false}));
  return fields.fixed("pruned_heads", {json::object(), json::array()});
}

Status read_gpt2(Fields& fields, ModelConfig& config) {
  LEASEHOLD_RETURN_IF_ERROR(check_architecture(fields, {"GPT2LMHeadModel", "GPT2Model"}));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("n_layer", config.layers));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("n_embd", config.hidden));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("n_head", config.heads));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("n_positions", config.sequence));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("vocab_size", config.vocab));
  if (fields.has("n_inner")) LEASEHOLD_RETURN_IF_ERROR(fields.size("n_inner", config.ffn));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("n_ctx", {config.sequence}));
  LEASEHOLD_RETURN_IF_ERROR(
      fields.fixed("activation_function", {"gelu_new", "gelu_pytorch_tanh"}));  // two names of one
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("scale_attn_weights", {true}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("scale_attn_by_inverse_layer_idx", {false}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("reorder_and_upcast_attn", {false}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("tie_word_embeddings", {true}));
  config.tied = true;
  config.norm_eps = 1e-5;
  LEASEHOLD_RETURN_IF_ERROR(fields.number("layer_norm_epsilon", config.norm_eps));

  std::array<double, 3> dropout = {0.1, 0.1, 0.1};
  LEASEHOLD_RETURN_IF_ERROR(fields.number("embd_pdrop", dropout[0]));
  LEASEHOLD_RETURN_IF_ERROR(fields.number("attn_pdrop", dropout[1]));
  LEASEHOLD_RETURN_IF_ERROR(fields.number("resid_pdrop", dropout[2]));
  if (dropout[0] != dropout[1] || dropout[0] != dropout[2]) {
    return error(Code::kBadConfig,
                 "{}: embd_pdrop {}, attn_pdrop {} and resid_pdrop {} differ: Leasehold has one "
                 "model.dropout; write one value for all (it only matters to training)",
                 fields.file(), dropout[0], dropout[1], dropout[2]);
  }
  config.dropout = dropout[0];
  return ok_status();
}

// {"rope_type": "llama3", "factor": 8, ...}, also with the type under its older name, and
// {"rope_type": "default"}.
Status read_rope(Fields& fields, const std::string& name, ModelConfig& config) {
  if (!fields.has(name)) return ok_status();
  const JsonCursor rope = fields.at(name);
  LEASEHOLD_RETURN_IF_ERROR(
      rope.expect_fields({}, {"type", "rope_type", "rope_theta", "factor", "low_freq_factor",
                              "high_freq_factor", "original_max_position_embeddings"}));
  const char* const type_name = rope.has("rope_type") ? "rope_type" : "type";
  if (!rope.has(type_name)) return rope.bad("the field 'rope_type' is missing");
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string type, rope.field(type_name).string());
  if (rope.has("rope_theta")) {
    LEASEHOLD_ASSIGN_OR_RETURN(config.rope_theta, rope.field("rope_theta").number(0, 1e30));
  }
  if (type == "default" && !rope.has("factor")) return ok_status();
  if (type != "llama3") {
    return fields.unsupported(name, "Leasehold has rope_type \"llama3\" and \"default\"");
  }
  for (const char* required :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    if (!rope.has(required)) return rope.bad(fmt::format("the field '{}' is missing", required));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(config.rope_factor, rope.field("factor").number(1, 1e6));
  LEASEHOLD_ASSIGN_OR_RETURN(config.rope_low_freq_factor,
                             rope.field("low_freq_factor").number(0, 1e30));
  LEASEHOLD_ASSIGN_OR_RETURN(config.rope_high_freq_factor,
                             rope.field("high_freq_factor").number(0, 1e30));
  LEASEHOLD_ASSIGN_OR_RETURN(config.rope_original_sequence,
                             rope.field("original_max_position_embeddings").integer(1, kLargest));
  return ok_status();
}

Status read_llama(Fields& fields, ModelConfig& config) {
  LEASEHOLD_RETURN_IF_ERROR(check_architecture(fields, {"LlamaForCausalLM", "LlamaModel"}));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("num_hidden_layers", config.layers));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("hidden_size", config.hidden));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("num_attention_heads", config.heads));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("intermediate_size", config.ffn));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("max_position_embeddings", config.sequence));
  LEASEHOLD_RETURN_IF_ERROR(fields.size("vocab_size", config.vocab));
  if (fields.has("num_key_value_heads"))
    LEASEHOLD_RETURN_IF_ERROR(fields.size("num_key_value_heads", config.kv_heads));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("head_dim", {config.hidden / config.heads}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("hidden_act", {"silu", "swish"}));  // two names of one
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("attention_bias", {false}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("mlp_bias", {false}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("attention_dropout", {0.0}));
  LEASEHOLD_RETURN_IF_ERROR(fields.fixed("pretraining_tp", {1}));
  LEASEHOLD_RETURN_IF_ERROR(fields.flag("tie_word_embeddings", config.tied));
  config.norm_eps = 1e-6;  // LlamaConfig's
  LEASEHOLD_RETURN_IF_ERROR(fields.number("rms_norm_eps", config.norm_eps));
  config.rope_theta = 10000;
  LEASEHOLD_RETURN_IF_ERROR(fields.number("rope_theta", config.rope_theta));
  LEASEHOLD_RETURN_IF_ERROR(read_rope(fields, "rope_scaling", config));
  return read_rope(fields, "rope_parameters", config);
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

Result<ModelConfig> parse_huggingface_config(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_strict_json(text, file, kConfigDepth));
  if (!root.is_object()) return error(Code::kBadData, "{}: an object is expected", file);
  Fields fields(root, file);
  if (!fields.has("model_type"))
    return error(Code::kBadData, "{}: the field 'model_type' is missing", file);
  ModelConfig config;
  LEASEHOLD_ASSIGN_OR_RETURN(config.family, fields.at("model_type").string());
  if (config.family != "gpt2" && config.family != "llama")
    return fields.unsupported("model_type", "Leasehold has \"gpt2\" and \"llama\"");
  LEASEHOLD_RETURN_IF_ERROR(read_common(fields));
  LEASEHOLD_RETURN_IF_ERROR(config.family == "gpt2" ? read_gpt2(fields, config)
                                                    : read_llama(fields, config));
  LEASEHOLD_RETURN_IF_ERROR(fields.refuse_others());
  Result<ModelConfig> complete = complete_model_config(config);
  if (!complete.ok()) return complete.status().annotated(file);
  return complete;
}

std::string encode_huggingface_config(const ModelConfig& config, const std::string& dtype) {
  ordered_json root = config.family == "llama" ? encode_llama(config) : encode_gpt2(config);
  root["torch_dtype"] = dtype;
  return root.dump(2) + "\n";
}

}  // namespace leasehold
