#include "runtime/checkpoint/shard_writer.h"

#include <vector>

namespace leasehold {

namespace {

Result<ShardPieces> write_plan(FileSystem& files, const std::string& directory,
                               const std::string& name, const ShardPlan& plan,
                               const PieceValues& values) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.create(join_path(directory, name)));
  LEASEHOLD_RETURN_IF_ERROR(file->append(plan.header().data(), std::ssize(plan.header())));
  std::vector<Digest128> digests;
  for (const PlannedPiece& piece : plan.pieces()) {
    LEASEHOLD_ASSIGN_OR_RETURN(const float* const data, values(piece));
    LEASEHOLD_RETURN_IF_ERROR(file->append(data, piece.size_bytes()));
    digests.push_back(digest128(data, static_cast<size_t>(piece.size_bytes())));
  }
  LEASEHOLD_RETURN_IF_ERROR(file->sync());
  LEASEHOLD_RETURN_IF_ERROR(file->close());
  LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(directory));
  return plan.describe(name, digests);
}

}  // namespace

Result<ShardPieces> write_shard(FileSystem& files, const std::string& directory,
                                const std::string& name, std::span<const StateSlice> slices) {
  LEASEHOLD_ASSIGN_OR_RETURN(const ShardPlan plan, ShardPlan::create(slices));
  return write_plan(files, directory, name, plan,
                    [&](const PlannedPiece& piece) -> Result<const float*> {
                      return plan.data_of(piece, slices);
                    });
}

Result<ShardPieces> write_shard(FileSystem& files, const std::string& directory,
                                const std::string& name, std::span<const StateSlice> slices,
                                const PieceValues& values) {
  LEASEHOLD_ASSIGN_OR_RETURN(const ShardPlan plan, ShardPlan::create(slices));
  return write_plan(files, directory, name, plan, values);
}

}  // namespace leasehold
