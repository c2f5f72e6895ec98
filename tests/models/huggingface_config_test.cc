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

// `base` with fields replaced or added.
Result<ModelConfig> parse_with(const char* base, const std::string& changes) {
  nlohmann::json root = nlohmann::json::parse(base);
  root.update(nlohmann::json::parse(changes));
  return parse_huggingface_config(root.dump(), "x/config.json");
}

TEST(HuggingFaceConfig, Gpt2) {
  const ModelConfig config = parse_huggingface_config(kGpt2, "config.json").value();
  EXPECT_EQ(config.family, "gpt2");
  EXPECT_EQ(config.layers, 12);
  EXPECT_EQ(config.hidden, 768);
  EXPECT_EQ(config.heads, 12);
  EXPECT_EQ(config.kv_heads, 12);
  EXPECT_EQ(config.ffn, 3072);
  EXPECT_EQ(config.sequence, 1024);
  EXPECT_EQ(config.vocab, 50257);
  EXPECT_EQ(config.dropout, 0.1);  // what transformers assumes
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(parse_with(kGpt2, R"({"n_inner": 100})")->ffn, 100);
  EXPECT_EQ(parse_with(kGpt2, R"({"layer_norm_epsilon": 1e-6})")->norm_eps, 1e-6);
}

TEST(HuggingFaceConfig, Llama) {
  const ModelConfig config = parse_huggingface_config(kLlama, "config.json").value();
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
  // As newer versions write it.
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
      const Result<ModelConfig> again = parse_huggingface_config(written, "config.json");
      ASSERT_TRUE(again.ok()) << again.status().message() << "\n" << written;
      EXPECT_EQ(*again, *config) << written;
      EXPECT_EQ(nlohmann::json::parse(written)["torch_dtype"], "bfloat16");
    }
  }
}

struct Refusal {
  const char* base;
  const char* changes;
  Code code;
  const char* words;  // in the message
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
       Code::kBadData, "beta_fast"},
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

TEST(HuggingFaceConfig, RefusesWhatIsNoObjectOfUniqueKeys) {
  for (const char* text : {"", "[]", "7", "{", R"({"model_type": "gpt2", "model_type": "gpt2"})"}) {
    EXPECT_EQ(parse_huggingface_config(text, "config.json").status().code(), Code::kBadData)
        << text;
  }
}

}  // namespace
}  // namespace leasehold
