// config.json of Hugging Face's transformers, for the models that Leasehold has: model_type "gpt2"
// and "llama". Pure.
#pragma once

#include <string>
#include <string_view>

#include "models/describe.h"

namespace leasehold {

// The complete configuration. A field that could change what the model computes and that Leasehold
// does not have, or has not with that value, is refused by name (kBadConfig), and so is a field
// that is known nowhere; what only concerns text generation, training elsewhere or bookkeeping is
// passed over. kBadData when the text is broken: not JSON, a size missing or of another type.
// Messages name `file`.
Result<ModelConfig> parse_huggingface_config(std::string_view text, const std::string& file);

// `dtype`: "float32" or "bfloat16", of the weights beside it. parse gives back `config`.
std::string encode_huggingface_config(const ModelConfig& config, const std::string& dtype);

}  // namespace leasehold
