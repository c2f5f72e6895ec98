#include "models/huggingface_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace leasehold {
namespace {

const char* const kGpt2 = R"({"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12,
  "n_positions": 1024, "vocab_size": 50257})";
const char* const kLlama = R"({"model_type": "llama", "num_hidden_layers": 16, "hidden_size": 2048,
  "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192,
  "max_position_embeddings": 131072, "vocab_size": 128256, "rms_norm_eps": 1e-05, "head_dim": 64,
  "rope_theta": 500000.0, "tie_word_embeddings": true,
  "rope_scaling": {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 8192, "rope_type": "llama3"}})";

// Reads `base` with fields replaced or added.
Result<HuggingFaceConfig> read_with(const char* base, const std::string& changes) {
  nlohmann::json root = nlohmann::json::parse(base);
  root.update(nlohmann::json::parse(changes));
  return parse_huggingface_config(root.dump(), "x/config.json");
}
Result<ModelConfig> parse_with(const char* base, const std::string& changes) {
  LEASEHOLD_ASSIGN_OR_RETURN(const HuggingFaceConfig config, read_with(base, changes));
  return config.model;
}

TEST(HuggingFaceConfig, Gpt2) {
  const ModelConfig config = parse_with(kGpt2, "{}").value();
  EXPECT_EQ(config.family, "gpt2");
  EXPECT_EQ(config.layers, 12);
  EXPECT_EQ(config.hidden, 768);
  EXPECT_EQ(config.heads, 12);
  EXPECT_EQ(config.kv_heads, 12);
  EXPECT_EQ(config.ffn, 3072);
  EXPECT_EQ(config.sequence, 1024);
  EXPECT_EQ(config.vocab, 50257);
  EXPECT_EQ(config.dropout, 0.1);  // the default of transformers
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(parse_with(kGpt2, R"({"n_inner": 100})")->ffn, 100);
  EXPECT_EQ(parse_with(kGpt2, R"({"layer_norm_epsilon": 1e-6})")->norm_eps, 1e-6);
}

TEST(HuggingFaceConfig, Llama) {
  const ModelConfig config = parse_with(kLlama, "{}").value();
  EXPECT_EQ(config.family, "llama");
  EXPECT_EQ(config.layers, 16);
  EXPECT_EQ(config.hidden, 2048);
  EXPECT_EQ(config.heads, 32);
  EXPECT_EQ(config.kv_heads, 8);
  EXPECT_EQ(config.ffn, 8192);
  EXPECT_EQ(config.sequence, 131072);
  EXPECT_EQ(config.vocab, 128256);
  EXPECT_TRUE(config.tied);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.rope_theta, 500000);
  EXPECT_EQ(config.rope_factor, 32);
  EXPECT_EQ(config.rope_low_freq_factor, 1);
  EXPECT_EQ(config.rope_high_freq_factor, 4);
  EXPECT_EQ(config.rope_original_sequence, 8192);
  EXPECT_EQ(config.dropout, 0);

  const ModelConfig plain =
      parse_with(kLlama, R"({"rope_scaling": null, "num_key_value_heads": null})").value();
  EXPECT_EQ(plain.rope_factor, 0);
  EXPECT_EQ(plain.kv_heads, 32);
  // The spelling of newer versions.
  const ModelConfig newer = parse_with(kLlama, R"({"rope_scaling": null, "rope_theta": null,
                             "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}})")
                                .value();
  EXPECT_EQ(newer.rope_theta, 1000);
}

TEST(HuggingFaceConfig, WhatIsWrittenReadsBack) {
  for (const char* text : {kGpt2, kLlama}) {
    for (const char* changes :
         {"{}", R"({"rope_scaling": null})", R"({"tie_word_embeddings": false})",
          R"({"n_inner": 5})", R"({"attn_pdrop": 0, "embd_pdrop": 0, "resid_pdrop": 0})"}) {
      const Result<ModelConfig> config = parse_with(text, changes);
      if (!config.ok()) continue;  // a field of the other family
      const std::string written = encode_huggingface_config(*config, "bfloat16");
      const Result<HuggingFaceConfig> again = parse_huggingface_config(written, "config.json");
      ASSERT_TRUE(again.ok()) << again.status().message() << "\n" << written;
      EXPECT_EQ(again->model, *config) << written;
      EXPECT_EQ(nlohmann::json::parse(written)["torch_dtype"], "bfloat16");
    }
  }
}

struct Refusal {
  const char* base;
  const char* changes;
  Code code;
  const char* words;  // part of the message
};

TEST(HuggingFaceConfig, NamesWhatItRefuses) {
  const std::vector<Refusal> cases = {
      {kGpt2, R"({"model_type": "mistral"})", Code::kBadConfig, "mistral"},
      {kGpt2, R"({"model_type": null})", Code::kBadData, "model_type"},
      {kGpt2, R"({"model_type": 7})", Code::kBadData, "model_type"},
      {kGpt2, R"({"n_layer": null})", Code::kBadData, "n_layer"},
      {kGpt2, R"({"n_layer": "12"})", Code::kBadData, "n_layer"},
      {kGpt2, R"({"n_layer": 0})", Code::kBadData, "n_layer"},
      {kGpt2, R"({"n_layer": 1e99})", Code::kBadData, "n_layer"},
      {kGpt2, R"({"n_layer": 10001})", Code::kBadConfig, "layers"},
      {kGpt2, R"({"n_head": 11})", Code::kBadConfig, "heads"},
      {kGpt2, R"({"n_ctx": 512})", Code::kBadConfig, "n_ctx"},
      {kGpt2, R"({"activation_function": "relu"})", Code::kBadConfig, "activation_function"},
      {kGpt2, R"({"activation_function": "gelu"})", Code::kBadConfig, "gelu_new"},
      {kGpt2, R"({"scale_attn_weights": false})", Code::kBadConfig, "scale_attn_weights"},
      {kGpt2, R"({"scale_attn_by_inverse_layer_idx": true})", Code::kBadConfig, "inverse_layer"},
      {kGpt2, R"({"add_cross_attention": true})", Code::kBadConfig, "add_cross_attention"},
      {kGpt2, R"({"tie_word_embeddings": false})", Code::kBadConfig, "tie_word_embeddings"},
      {kGpt2, R"({"attn_pdrop": 0.2})", Code::kBadConfig, "attn_pdrop 0.2"},
      {kGpt2, R"({"layer_norm_epsilon": 7})", Code::kBadConfig, "norm_eps"},
      {kGpt2, R"({"quantization_config": {"bits": 4}})", Code::kBadConfig, "quantization_config"},
      {kGpt2, R"({"my_own_trick": 1})", Code::kBadConfig, "my_own_trick"},
      {kGpt2, R"({"rope_theta": 1})", Code::kBadConfig, "rope_theta"},
      {kGpt2, R"({"architectures": ["GPT2ForSequenceClassification"]})", Code::kBadConfig,
       "GPT2ForSequenceClassification"},
      {kLlama, R"({"hidden_act": "gelu"})", Code::kBadConfig, "hidden_act"},
      {kLlama, R"({"head_dim": 128})", Code::kBadConfig, "head_dim"},
      {kLlama, R"({"attention_bias": true})", Code::kBadConfig, "attention_bias"},
      {kLlama, R"({"mlp_bias": true})", Code::kBadConfig, "mlp_bias"},
      {kLlama, R"({"pretraining_tp": 2})", Code::kBadConfig, "pretraining_tp"},
      {kLlama, R"({"attention_dropout": 0.1})", Code::kBadConfig, "attention_dropout"},
      {kLlama, R"({"sliding_window": 4096})", Code::kBadConfig, "sliding_window"},
      {kLlama, R"({"num_key_value_heads": 5})", Code::kBadConfig, "kv_heads"},
      {kLlama, R"({"tie_word_embeddings": 1})", Code::kBadData, "tie_word_embeddings"},
      {kLlama, R"({"rope_scaling": {"type": "linear", "factor": 2}})", Code::kBadConfig,
       "rope_scaling"},
      {kLlama, R"({"rope_scaling": {"rope_type": "yarn", "factor": 2, "beta_fast": 1}})",
       Code::kBadConfig, "yarn"},
      {kLlama, R"({"rope_scaling": {"rope_type": "default", "factor": 2}})", Code::kBadConfig,
       "rope_scaling"},
      {kLlama, R"({"rope_scaling": {"rope_type": "default", "beta_fast": 32}})", Code::kBadConfig,
       "rope_scaling.beta_fast"},
      {kLlama, R"({"rope_scaling": {"rope_type": "default", "partial_rotary_factor": 0.5}})",
       Code::kBadConfig, "partial_rotary_factor"},
      {kLlama, R"({"partial_rotary_factor": 0.5})", Code::kBadConfig, "partial_rotary_factor"},
      {kLlama, R"({"rope_interleaved": true})", Code::kBadConfig, "rope_interleaved"},
      {kLlama, R"({"max_sequence_length": 2048})", Code::kBadConfig, "max_position_embeddings"},
      {kLlama, R"({"layer_types": ["full_attention", "sliding_attention"]})", Code::kBadConfig,
       "layer_types"},
      {kLlama, R"({"auto_map": {"AutoModel": "x.py"}})", Code::kBadConfig, "auto_map"},
      // Unknown fields: no value is known to disable them.
      {kLlama, R"({"use_rope": false})", Code::kBadConfig, "use_rope"},
      {kLlama, R"({"my_own_offset": 0})", Code::kBadConfig, "my_own_offset"},
      {kLlama, R"({"eos_token_id": "two"})", Code::kBadData, "eos_token_id"},
      {kLlama, R"({"rope_scaling": {"rope_type": "llama3", "factor": 2}})", Code::kBadData,
       "low_freq_factor"},
      {kLlama, R"({"rope_scaling": {"factor": 2}})", Code::kBadData, "rope_type"},
      {kLlama, R"({"rope_scaling": 8})", Code::kBadData, "rope_scaling"},
  };
  for (const Refusal& refusal : cases) {
    const Result<ModelConfig> config = parse_with(refusal.base, refusal.changes);
    EXPECT_EQ(config.status().code(), refusal.code)
        << refusal.changes << " " << config.status().message();
    const std::string& message = config.status().message();
    EXPECT_NE(message.find(refusal.words), std::string::npos) << refusal.changes << " " << message;
    EXPECT_NE(message.find("x/config.json"), std::string::npos) << message;
  }
}

// Configurations of published models, with their fields other than sizes.
TEST(HuggingFaceConfig, PassesOverWhatChangesNothing) {
  const std::pair<const char*, const char*> cases[] = {
      // GPT-2 and its descendants.
      {kGpt2, R"({"n_ctx": 1024, "n_special": 0, "predict_special_tokens": true,
                  "summary_activation": null, "summary_first_dropout": 0.1,
                  "summary_proj_to_labels": true, "summary_type": "cls_index",
                  "summary_use_proj": true, "output_past": true, "_num_labels": 1,
                  "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
                  "gradient_checkpointing": false, "resid_pdrop": 0.1, "initializer_range": 0.02,
                  "task_specific_params": {"conversational": {"max_length": 1000}}})"},
      // SmolLM.
      {kLlama, R"({"is_llama_config": true, "rope_interleaved": false, "pretraining_tp": 1,
                   "transformers.js_config": {"dtype": "q4", "kv_cache_dtype": {"q4": "f16"}}})"},
      // Older and newer versions of transformers.
      {kLlama, R"({"max_sequence_length": 131072, "pad_token_id": -1, "torch_dtype": "float16"})"},
      {kLlama, R"({"dtype": "bfloat16", "rope_scaling": null, "rope_theta": null,
                   "rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                       "partial_rotary_factor": 1.0, "attention_factor": null}})"},
      {kLlama, R"({"sliding_window": null, "quantization_config": null, "auto_map": null,
                   "layer_types": null, "my_own_trick": null, "my_own_list": []})"},
      {kLlama, R"({"sliding_window": 131072, "layer_types": ["full_attention"]})"},
      {kLlama, R"({"sliding_window": 4096, "use_sliding_window": false, "max_window_layers": 9})"},
      {kLlama, R"({"attention_bias": false, "mlp_bias": false, "hidden_act": "swish",
                   "use_qk_norm": false, "logit_scale": 1.0})"},
      {kLlama, R"({"architectures": ["LLaMAForCausalLM"], "eos_token_id": [1, 2]})"},
  };
  for (const auto& [base, changes] : cases) {
    const Result<HuggingFaceConfig> config = read_with(base, changes);
    EXPECT_TRUE(config.ok()) << changes << " " << config.status().message();
  }
  EXPECT_EQ(
      read_with(kGpt2, R"({"use_cache": true, "_num_labels": 1, "my_own": null})")->passed_over,
      (std::vector<std::string>{"_num_labels", "my_own", "use_cache"}));
  EXPECT_EQ(read_with(kGpt2, R"({"bos_token_id": 7, "eos_token_id": [8, 9], "pad_token_id": null})")
                ->token_ids,
            R"({"bos_token_id":7,"eos_token_id":[8,9],"pad_token_id":null})");
}

TEST(HuggingFaceConfig, RopeThatScalesNothingIsNone) {
  for (const char* scaling :
       {R"({"type": "default", "factor": 1.0})", R"({"rope_type": "default", "factor": 1})",
        R"({"rope_type": "default"})", R"({"type": "linear", "factor": 1.0})",
        R"({"type": "dynamic", "factor": 1.0})", R"({"rope_theta": 500000.0})", "{}"}) {
    const auto config = parse_with(kLlama, fmt::format(R"({{"rope_scaling": {}}})", scaling));
    ASSERT_TRUE(config.ok()) << scaling << " " << config.status().message();
    EXPECT_EQ(config->rope_factor, 0) << scaling;
    EXPECT_EQ(config->rope_theta, 500000) << scaling;
  }
}

// Other names of a size are read if the usual one is missing.
TEST(HuggingFaceConfig, ReadsOtherNamesOfOneSize) {
  const auto gpt2 = parse_huggingface_config(R"({"model_type": "gpt2", "num_hidden_layers": 2,
      "hidden_size": 8, "num_attention_heads": 2, "max_position_embeddings": 16,
      "vocab_size": 5})",
                                             "config.json");
  ASSERT_TRUE(gpt2.ok()) << gpt2.status().message();
  EXPECT_EQ(gpt2->model.layers, 2);
  EXPECT_EQ(gpt2->model.sequence, 16);
  const auto llama =
      parse_with(kLlama, R"({"max_position_embeddings": null, "max_sequence_length": 2048})");
  ASSERT_TRUE(llama.ok()) << llama.status().message();
  EXPECT_EQ(llama->sequence, 2048);
  for (const char* name : {"gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast"})
    EXPECT_TRUE(parse_with(kGpt2, fmt::format(R"({{"activation_function": "{}"}})", name)).ok());
}

TEST(HuggingFaceConfig, OneMessageNamesAllThatIsRefused) {
  const Status refused = read_with(kLlama, R"({"head_dim": 128, "attention_bias": true,
      "rope_scaling": {"type": "linear", "factor": 2}, "my_own_trick": {"a": 1},
      "num_key_value_heads": 5, "use_cache": true})")
                             .status();
  EXPECT_EQ(refused.code(), Code::kBadConfig);
  for (const char* words : {"head_dim", "128", "64", "attention_bias", "rope_scaling", "linear",
                            "my_own_trick", R"({"a":1})", "kv_heads"}) {
    EXPECT_NE(refused.message().find(words), std::string::npos) << words << refused.message();
  }
  EXPECT_EQ(refused.message().find("use_cache"), std::string::npos) << refused.message();
}

TEST(HuggingFaceConfig, RefusesWhatIsNoObjectOfUniqueKeys) {
  for (const char* text : {"", "[]", "7", "{", R"({"model_type": "gpt2", "model_type": "gpt2"})"}) {
    EXPECT_EQ(parse_huggingface_config(text, "config.json").status().code(), Code::kBadData)
        << text;
  }
}

}  // namespace
}  // namespace leasehold
