// manifest.json: what a checkpoint consists of. Parsed as if somebody had damaged it: structure,
// sizes, the cover of every tensor and a digest over the whole are checked, and an error names the
// file and the field.
//
//   {"format": "leasehold-checkpoint", "version": 2,
//    the members of CheckpointInfo under their names ("tokenizer" for tokenizer_json; "algorithms",
//    an array of the text's lines, "cpu_kernels", "model_files" and, for num_skipped and
//    num_skipped_in_row, "skipped_steps" and "skipped_in_row" are there only where not empty),
//    "files": [{"name": "shard-00000-of-00002.safetensors", "size_bytes": 4096, "pieces": 3,
//               "index_bytes": 700, "index_digest": "..."}, ...],
//    "tensors": [{"parameter": "...", "kind": "weight", "dtype": "F32", "shape": [768, 768],
//                 "boxes": [{"offset": [0, 0], "extent": [768, 768],
//                            "ranges": [[294912, 2, 0, 1]]}, ...]}, ...],
//    "digest": "..."}
//
// The boxes of a tensor cover it, each once. The ranges of a box follow each other from its first
// element to its last, row-major: [elements, count, first, stride] are `count` ranges of `elements`
// each, in file `first`, `first + stride` and so on, by their places in "files". Ranks share a
// bucket of gradients evenly, so there are as many of these as buckets, however many the ranks. The
// pieces of a file are listed in its index, the last "index_bytes" of the file (shard_index.h).
// Kinds are weight, m and v. Digests are XXH3-128; the last one is that of the manifest without it,
// written without spaces and with sorted keys.
//
// Version 1, which is read too, has no indexes: "files" have name and size alone, and each tensor
// has "pieces": [{"offset": [0, 0], "extent": [768, 768], "begin": 0, "end": 589824, "file": 0,
// "key": "...", "digest": "..."}, ...] in place of boxes: a box, the row-major range inside it, the
// file, the tensor's key there and the digest of its bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/digest.h"
#include "runtime/checkpoint/boxes.h"
#include "runtime/checkpoint/checkpoint_info.h"

namespace leasehold {

// The longest piece: a reader holds a whole piece to check its digest.
inline constexpr int64_t kMaxPieceElements = int64_t{4} << 20;

struct Piece {
  BoxRange range;
  int64_t file = 0;  // index into Manifest::files
  std::string key;   // of a flat F32 tensor in that file
  Digest128 digest;  // of its bytes
  bool operator==(const Piece&) const = default;
};

// `count` ranges of `elements` elements, one after the other, in files `first`, `first + stride`,
// ...
struct HeldRun {
  int64_t elements = 0;
  int64_t count = 1;
  int64_t first = 0;  // index into Manifest::files
  int64_t stride = 1;
  bool operator==(const HeldRun&) const = default;
};

// The files that hold a box, from its first element to its last.
struct HeldBox {
  Box box;
  std::vector<HeldRun> runs;
  bool operator==(const HeldBox&) const = default;
};

struct StoredTensor {
  std::string parameter;
  StateKind kind = StateKind::kWeight;
  Shape shape;                 // global
  std::vector<Piece> pieces;   // none in a manifest of version 2
  std::vector<HeldBox> boxes;  // of version 2 alone
  bool operator==(const StoredTensor&) const = default;
};

struct ShardFile {
  std::string name;
  int64_t size_bytes = 0;
  // Of its index, in a checkpoint of version 2.
  int64_t num_pieces = 0;
  int64_t index_bytes = 0;
  Digest128 index_digest;
  bool operator==(const ShardFile&) const = default;
};

struct Manifest {
  // 1: pieces are listed here; 2: in the files' indexes.
  int64_t version = 1;
  CheckpointInfo info;
  std::vector<ShardFile> files;
  std::vector<StoredTensor> tensors;  // sorted by (parameter, kind), one of each

  // Null when there is no such tensor.
  const StoredTensor* find(const std::string& parameter, StateKind kind) const;
  int64_t num_parameters() const {
    return static_cast<int64_t>(tensors.size() / kStateKinds.size());
  }
  bool operator==(const Manifest&) const = default;
};

// Longest manifest; a longer one is neither written nor read.
inline constexpr int64_t kMaxManifestBytes = int64_t{4} << 30;

// kBadData when a name is not UTF-8; kStorage, saying what to change, when it would be longer than
// kMaxManifestBytes.
Result<std::string> encode_manifest(const Manifest& manifest);
// kBadData, naming `file`.
Result<Manifest> parse_manifest(std::string_view text, const std::string& file);

// A file and its pieces, whose `file` is 0.
struct ShardPieces {
  ShardFile file;
  std::vector<StoredTensor> tensors;  // sorted by (parameter, kind), one of each
  bool operator==(const ShardPieces&) const = default;
};

// A manifest of version 1 of all ranks' pieces, in rank order, checked as parse_manifest does:
// kBadData when ranks disagree on a shape, pieces overlap, or something is missing.
Result<Manifest> merge_shards(const CheckpointInfo& info, std::vector<ShardPieces> shards);

// The order of tensors.
bool tensor_less(const StoredTensor& a, const StoredTensor& b);

}  // namespace leasehold
