// Reads and writes config.json of Hugging Face's transformers, for the models that Leasehold has:
// model_type "gpt2" and "llama". Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/describe.h"

namespace leasehold {

struct HuggingFaceConfig {
  ModelConfig model;  // complete
  // Fields that do not change what the model computes, or that set nothing (null, or an empty list,
  // object or text), sorted. For a notice.
  std::vector<std::string> passed_over;
  // The ids that have a meaning in text generation, as a JSON object of the given ones
  // ("bos_token_id", "eos_token_id", "pad_token_id" and the like).
  std::string token_ids;
};

// Reads a config.json. Refuses, in one message that names them all (kBadConfig), unknown fields and
// fields that could change what the model computes where Leasehold lacks the field or the value.
// kBadData if the text is broken: not JSON, a size missing or of another type. Messages name
// `file`.
Result<HuggingFaceConfig> parse_huggingface_config(std::string_view text, const std::string& file);

// Writes a config.json from which parse_huggingface_config reads `config` again. `dtype` is the
// dtype of the weights next to it, "float32" or "bfloat16". `token_ids` is a JSON object of fields
// to add.
std::string encode_huggingface_config(const ModelConfig& config, const std::string& dtype,
                                      const std::string& token_ids = "{}");

}  // namespace leasehold
