// model.safetensors.index.json: which file of a sharded set holds which tensor. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

using WeightMap = std::map<std::string, std::string>;  // tensor -> file beside the index

// kBadData, naming `file`: broken JSON, a field that is none of metadata and weight_map, no tensor
// at all, or a file that is not the plain name of a .safetensors file.
Result<WeightMap> parse_huggingface_index(std::string_view text, const std::string& file);

// `total_bytes`: of all tensors.
std::string encode_huggingface_index(const WeightMap& weight_map, int64_t total_bytes);

}  // namespace leasehold
