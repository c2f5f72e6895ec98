#include "runtime/checkpoint/shard_writer.h"

#include <algorithm>
#include <map>
#include <vector>

#include "runtime/checkpoint/shard_index.h"

namespace leasehold {

namespace {

Result<ShardPieces> write_plan(FileSystem& files, const std::string& directory,
                               const std::string& name, const ShardPlan& plan,
                               const PieceValues& values) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.create(join_path(directory, name)));
  LEASEHOLD_RETURN_IF_ERROR(file->append(plan.header().data(), std::ssize(plan.header())));
  std::vector<Digest128> digests;
  std::map<int64_t, Digest128> repeated;  // by offset in the file
  for (const PlannedPiece& piece : plan.pieces()) {
    if (piece.repeats) {
      digests.push_back(repeated.at(piece.offset));
      continue;
    }
    LEASEHOLD_ASSIGN_OR_RETURN(const float* const data, values(piece));
    LEASEHOLD_RETURN_IF_ERROR(file->append(data, piece.size_bytes()));
    digests.push_back(digest128(data, static_cast<size_t>(piece.size_bytes())));
    repeated[piece.offset] = digests.back();
  }
  ShardPieces shard = plan.describe(name, digests);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string index, encode_shard_index(shard.tensors));
  LEASEHOLD_CHECK(std::ssize(index) == plan.index_bytes(), "an index of {} bytes, not {}",
                  index.size(), plan.index_bytes());
  shard.file.index_digest = digest128(index.data(), index.size());
  LEASEHOLD_RETURN_IF_ERROR(file->append(index.data(), std::ssize(index)));
  LEASEHOLD_RETURN_IF_ERROR(file->sync());
  LEASEHOLD_RETURN_IF_ERROR(file->close());
  return shard;
}

}  // namespace

Result<ShardPieces> write_shard(FileSystem& files, const std::string& directory,
                                const std::string& name, std::span<const StateSlice> slices) {
  LEASEHOLD_ASSIGN_OR_RETURN(const ShardPlan plan, ShardPlan::create_indexed(slices));
  return write_plan(files, directory, name, plan,
                    [&](const PlannedPiece& piece) -> Result<const float*> {
                      return plan.data_of(piece, slices);
                    });
}

Result<ShardPieces> write_weights_shard(FileSystem& files, const std::string& directory,
                                        const std::string& name, std::span<const StateSlice> slices,
                                        const PieceValues& values) {
  LEASEHOLD_ASSIGN_OR_RETURN(const ShardPlan plan, ShardPlan::create_of_weights(slices));
  std::vector<float> zeros;
  const auto with_zeros = [&](const PlannedPiece& piece) -> Result<const float*> {
    if (slices[piece.slice].kind == StateKind::kWeight) return values(piece);
    zeros.resize(static_cast<size_t>(std::max(piece.range.count(), std::ssize(zeros))));
    return static_cast<const float*>(zeros.data());
  };
  return write_plan(files, directory, name, plan, with_zeros);
}

}  // namespace leasehold
