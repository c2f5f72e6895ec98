// manifest.json: what a checkpoint consists of. Parsed as if somebody had damaged it: structure,
// sizes, the cover of every tensor and a digest over the whole are checked, and an error names the
// file and the field.
//
//   {"format": "leasehold-checkpoint", "version": 1,
//    the members of CheckpointInfo under their names ("tokenizer" for tokenizer_json; "algorithms",
//    an array of the text's lines, "cpu_kernels" and "model_files" are there only where they are not
//    empty),
//    "files": [{"name": "shard-00000-of-00002.safetensors", "size_bytes": 4096}, ...],
//    "tensors": [{"parameter": "...", "kind": "weight", "dtype": "F32", "shape": [768, 768],
//                 "pieces": [piece, ...]}, ...],
//    "digest": "..."}
//
// A piece is {"offset": [0, 0], "extent": [768, 768], "begin": 0, "end": 589824, "file": 0,
// "key": "...", "digest": "..."}: a box, the row-major range inside it, the file by its place in
// "files", the tensor's key there and the XXH3-128 of its bytes. Kinds are weight, m and v. The
// last digest is the XXH3-128 of the manifest without it, written without spaces and with sorted
// keys.
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

struct StoredTensor {
  std::string parameter;
  StateKind kind = StateKind::kWeight;
  Shape shape;  // global
  std::vector<Piece> pieces;
  bool operator==(const StoredTensor&) const = default;
};

struct ShardFile {
  std::string name;
  int64_t size_bytes = 0;
  bool operator==(const ShardFile&) const = default;
};

struct Manifest {
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

// kBadData when a name is not UTF-8.
Result<std::string> encode_manifest(const Manifest& manifest);
// kBadData, naming `file`.
Result<Manifest> parse_manifest(std::string_view text, const std::string& file);

// One rank's contribution, as it travels to the rank that publishes: its file and its pieces (whose
// `file` is 0).
struct ShardPieces {
  ShardFile file;
  std::vector<StoredTensor> tensors;
  bool operator==(const ShardPieces&) const = default;
};
Result<std::string> encode_shard_pieces(const ShardPieces& shard);
Result<ShardPieces> parse_shard_pieces(std::string_view text, const std::string& sender);

// The manifest of all ranks' contributions, in rank order, checked as parse_manifest does: kBadData
// when ranks disagree on a shape, pieces overlap, or something is missing.
Result<Manifest> merge_shards(const CheckpointInfo& info, std::vector<ShardPieces> shards);

}  // namespace leasehold
