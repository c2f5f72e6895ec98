#include "runtime/checkpoint/shard_writer.h"

#include <vector>

namespace leasehold {

Result<ShardPieces> write_shard(FileSystem& files, const std::string& directory,
                                const std::string& name, std::span<const StateSlice> slices) {
  LEASEHOLD_ASSIGN_OR_RETURN(const ShardPlan plan, ShardPlan::create(slices));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.create(join_path(directory, name)));
  LEASEHOLD_RETURN_IF_ERROR(file->append(plan.header().data(), std::ssize(plan.header())));
  std::vector<Digest128> digests;
  for (const PlannedPiece& piece : plan.pieces()) {
    const float* data = plan.data_of(piece, slices);
    LEASEHOLD_RETURN_IF_ERROR(file->append(data, piece.size_bytes()));
    digests.push_back(digest128(data, static_cast<size_t>(piece.size_bytes())));
  }
  LEASEHOLD_RETURN_IF_ERROR(file->sync());
  LEASEHOLD_RETURN_IF_ERROR(file->close());
  LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(directory));
  return plan.describe(name, digests);
}

}  // namespace leasehold
