// Index of a shard, and what the ranks of a save tell of their files. The index of a file lists its
// pieces and lies in the file itself, so that no rank, and no manifest, has the pieces of all. A
// summary says which elements a file holds; rank 0 makes the manifest of the summaries.
//
// An index is JSON, {"tensors": [...]} with the tensors and pieces of a manifest of version 1,
// whose "file" is 0. It is the tensor "index" of the .safetensors file, U8 and the last one.
//
// A summary is JSON, {"file": ..., "tensors": [{"parameter": "...", "kinds": ["weight", "m", "v"],
// "shape": [768, 768], "boxes": [{"offset": [0, 0], "extent": [768, 768], "ranges": [0, 4096,
// ...]},
// ...]}, ...]}: the file as in a manifest, and of each box the ranges [begin, end), ascending, that
// do not touch each other. Kinds of which the file holds the same are told together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/checkpoint/manifest.h"

namespace leasehold {

inline constexpr const char* kIndexKey = "index";  // in the .safetensors file
// Longer ones are neither written nor read.
inline constexpr int64_t kMaxIndexBytes = int64_t{1} << 30;

// kBadData when a name is not UTF-8; kStorage when it would be longer than kMaxIndexBytes. As long
// with any digests.
Result<std::string> encode_shard_index(const std::vector<StoredTensor>& tensors);
// kBadData, naming `file`. Tensors ascend.
Result<std::vector<StoredTensor>> parse_shard_index(std::string_view text, const std::string& file);

struct SummaryBox {
  Box box;
  std::vector<std::pair<int64_t, int64_t>> ranges;
  bool operator==(const SummaryBox&) const = default;
};

struct SummaryTensor {
  std::string parameter;
  std::vector<StateKind> kinds;  // ascending
  Shape shape;                   // global
  std::vector<SummaryBox> boxes;
  bool operator==(const SummaryTensor&) const = default;
};

struct ShardSummary {
  ShardFile file;
  std::vector<SummaryTensor> tensors;
  bool operator==(const ShardSummary&) const = default;
};

ShardSummary summarize(const ShardPieces& shard);
// kBadData when a name is not UTF-8.
Result<std::string> encode_summary(const ShardSummary& summary);
// kBadData, naming `sender`.
Result<ShardSummary> parse_summary(std::string_view text, const std::string& sender);

// The manifest of all files, in the order of their summaries. kBadData when they disagree on a
// shape, hold an element twice, or together lack one.
Result<Manifest> merge_summaries(const CheckpointInfo& info,
                                 const std::vector<std::string>& encoded);

}  // namespace leasehold
