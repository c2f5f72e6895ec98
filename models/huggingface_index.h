// Reads and writes model.safetensors.index.json, which says which file of a sharded set holds which
// tensor. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

using WeightMap = std::map<std::string, std::string>;  // from tensor to file, next to the index

// Parses an index. kBadData, naming `file`, for broken JSON, a field other than metadata and
// weight_map, no tensor at all, or a file that is not the plain name of a .safetensors file.
Result<WeightMap> parse_huggingface_index(std::string_view text, const std::string& file);

// Writes an index. `total_bytes` counts all tensors.
std::string encode_huggingface_index(const WeightMap& weight_map, int64_t total_bytes);

}  // namespace leasehold
