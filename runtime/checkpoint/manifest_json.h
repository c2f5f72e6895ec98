// The JSON of a manifest's parts, shared by manifest.json and the descriptions of snapshots.
// Internal to this folder; brings in nlohmann/json.
#pragma once

#include <vector>

#include "runtime/base/json_reader.h"
#include "runtime/checkpoint/manifest.h"

namespace leasehold {

inline constexpr int kManifestDepth = 7;  // manifest, tensors, tensor, boxes, box, ranges, run
nlohmann::json encode_info(const CheckpointInfo& info);
nlohmann::json encode_file(const ShardFile& file);
nlohmann::json encode_tensors(const std::vector<StoredTensor>& tensors);       // with their pieces
nlohmann::json encode_held_tensors(const std::vector<StoredTensor>& tensors);  // with their boxes
nlohmann::json encode_box(const Box& box);
nlohmann::json encode_shape(const Shape& shape);

// All kBadData, naming the place.
Result<CheckpointInfo> parse_info(const JsonCursor& at);
Result<ShardFile> parse_file(const JsonCursor& at, bool has_index = false);
Result<std::vector<StoredTensor>> parse_tensors(const JsonCursor& at, int64_t num_files);
Result<std::vector<StoredTensor>> parse_held_tensors(const JsonCursor& at, int64_t num_files);
// A box of `global` in the members "offset" and "extent" of an object.
Result<Box> parse_box(const JsonCursor& at, const Shape& global);
Result<Shape> parse_shape(const JsonCursor& at);
Result<StateKind> parse_kind(const JsonCursor& at);
Result<Digest128> parse_digest(const JsonCursor& at);

// Of the text without spaces and with sorted keys.
Digest128 digest_of(const nlohmann::json& without_digest);
Status not_utf8(const nlohmann::json::exception& failure);

}  // namespace leasehold
