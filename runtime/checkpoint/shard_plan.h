// How one rank's slices lie in one .safetensors file, whether on a disk or in shared memory: flat
// F32 tensors of at most kMaxPieceElements elements, one after the other behind the header, and in
// a checkpoint the index of them (shard_index.h). Pure; the same slices give the same plan whatever
// their values.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/manifest.h"

namespace leasehold {

// "shard-00000-of-00004.safetensors". The number orders the files and says nothing about what is
// inside.
std::string shard_name(int index, int count);

// "blocks.0.mlp.fc.weight/m@0:4194304", with "[0:2, 64:128]" before the '@' when the box is not the
// whole tensor.
std::string piece_key(const std::string& parameter, StateKind kind, const Shape& global_shape,
                      const BoxRange& range);

struct PlannedPiece {
  size_t slice = 0;  // index into the slices
  BoxRange range;
  std::string key;
  int64_t offset = 0;    // of its bytes in the file
  bool repeats = false;  // another piece before it has the same bytes, in the same place
  size_t tensor = 0;     // where describe() puts it
  size_t place_in_tensor = 0;

  int64_t size_bytes() const { return range.count() * static_cast<int64_t>(sizeof(float)); }
};

class ShardPlan {
 public:
  // Slices must be f32 in host memory and lie inside their global shape (kInternal); that they do
  // not overlap, and with the other ranks' hold everything, is checked by merge_shards. A tensor of
  // which this rank holds no element is named all the same: its shape must agree over ranks.
  static Result<ShardPlan> create(std::span<const StateSlice> slices);
  // The same with an index after the pieces.
  static Result<ShardPlan> create_indexed(std::span<const StateSlice> slices);
  // The same where all moments are zero: their pieces of one length are one tensor of the file.
  static Result<ShardPlan> create_of_weights(std::span<const StateSlice> slices);

  const std::string& header() const { return header_; }
  const std::vector<PlannedPiece>& pieces() const { return pieces_; }
  int64_t size_bytes() const { return size_bytes_; }    // of the file
  int64_t index_bytes() const { return index_bytes_; }  // of those; 0 without an index
  // What the file holds, once the digest of each piece is known, in the order of pieces(). The
  // digest of the index is left to the caller.
  ShardPieces describe(const std::string& name, std::span<const Digest128> digests) const;
  // Where a piece's elements are in the slices.
  const float* data_of(const PlannedPiece& piece, std::span<const StateSlice> slices) const;
  // The slices as they lie in a file of this plan that is mapped at `file`.
  std::vector<StateSlice> slices_inside(std::span<const StateSlice> slices, void* file) const;

 private:
  static Result<ShardPlan> create(std::span<const StateSlice> slices, bool has_index,
                                  bool zero_moments);

  std::string header_;
  std::vector<PlannedPiece> pieces_;
  std::vector<StoredTensor> tensors_;  // with pieces that lack their digests
  int64_t size_bytes_ = 0;
  int64_t index_bytes_ = 0;
};

}  // namespace leasehold
