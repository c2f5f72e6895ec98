// The JSON of a manifest's parts, shared by manifest.json and the descriptions of snapshots.
// Internal to this folder; brings in nlohmann/json.
#pragma once

#include <vector>

#include "runtime/base/json_reader.h"
#include "runtime/checkpoint/manifest.h"

namespace leasehold {

inline constexpr int kManifestDepth = 6;  // manifest, tensors, tensor, pieces, piece, offset
nlohmann::json encode_info(const CheckpointInfo& info);
nlohmann::json encode_file(const ShardFile& file);
nlohmann::json encode_tensors(const std::vector<StoredTensor>& tensors);

// All kBadData, naming the place.
Result<CheckpointInfo> parse_info(const JsonCursor& at);
Result<ShardFile> parse_file(const JsonCursor& at);
Result<std::vector<StoredTensor>> parse_tensors(const JsonCursor& at, int64_t num_files);

// Of the text without spaces and with sorted keys.
Digest128 digest_of(const nlohmann::json& without_digest);
Status not_utf8(const nlohmann::json::exception& failure);

}  // namespace leasehold
