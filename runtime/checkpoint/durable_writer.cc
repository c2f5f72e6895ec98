// save_checkpoint: the collective part and the publication. A shard is written by shard_writer.cc.
#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/checkpoint/checkpoint_directory.h"
#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/run_directory.h"
#include "runtime/checkpoint/shard_writer.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// How much of an existing checkpoint is held at once to compare it.
constexpr int64_t kCompareElements = 16 * kMaxPieceElements;

struct Paths {
  std::string run_dir;
  std::string directory;  // checkpoints/
  std::string temporary;
  std::string final;

  Paths(const std::string& run, const CheckpointInfo& info)
      : run_dir(run),
        directory(checkpoints_path(run)),
        temporary(join_path(directory, temporary_name(info.step, info.generation))),
        final(join_path(directory, checkpoint_name(info.step))) {}
};

// An older generation that still runs must not publish into what a newer one has taken over.
Status check_not_superseded(FileSystem& files, const std::string& run_dir, int64_t generation) {
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t newest, newest_claim(files, run_dir));
  if (newest <= generation) return ok_status();
  return error(Code::kUnavailable,
               "generation {} has claimed {}: generation {} ends without publishing", newest,
               run_dir, generation);
}

// Rank 0. Makes an empty temporary directory. True when a checkpoint of this step can be read.
Result<bool> prepare(FileSystem& files, const Paths& paths, const CheckpointInfo& info) {
  LEASEHOLD_RETURN_IF_ERROR(check_not_superseded(files, paths.run_dir, info.generation));
  LEASEHOLD_RETURN_IF_ERROR(make_durable_directories(files, paths.directory));
  LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(paths.run_dir));
  LEASEHOLD_RETURN_IF_ERROR(files.remove_all(paths.temporary));
  LEASEHOLD_RETURN_IF_ERROR(files.make_directories(paths.temporary));
  const Result<CheckpointHandle> existing = open_checkpoint(files, paths.final);
  const Code code = existing.status().code();
  const bool absent_or_damaged = code == Code::kMissingInput || code == Code::kBadData;
  if (!existing.ok() && !absent_or_damaged) return existing.status();
  return existing.ok();
}

// Compares this rank's slices with those of the checkpoint at `path`. Local.
enum class Comparison : char { kSame = 's', kDifferent = 'd', kDamaged = 'x' };
Result<Comparison> compare_with(FileSystem& files, const std::string& path,
                                std::span<const StateSlice> mine) {
  const Result<CheckpointHandle> handle = open_checkpoint(files, path);
  if (handle.status().code() == Code::kBadData) return Comparison::kDamaged;
  if (!handle.ok()) return handle.status();
  CheckpointReader reader(files, handle.value());
  std::vector<float> stored;
  for (const StateSlice& slice : mine) {
    const StoredTensor* tensor = handle->manifest->find(slice.parameter, slice.kind);
    if (tensor == nullptr || tensor->shape != slice.global_shape) return Comparison::kDifferent;
    for (int64_t done = 0; done < slice.data.num_elements();) {
      const int64_t count = std::min(kCompareElements, slice.data.num_elements() - done);
      stored.resize(static_cast<size_t>(std::max(count, std::ssize(stored))));
      StateSlice part = slice;
      part.begin += done;
      part.data = Tensor(stored.data(), DType::kF32, Shape{count});
      const Status loaded = reader.load({&part, 1});
      if (loaded.code() == Code::kBadData) return Comparison::kDamaged;
      LEASEHOLD_RETURN_IF_ERROR(loaded);
      const Tensor own = slice.data.flat(done, count);
      if (std::memcmp(own.data(), stored.data(), static_cast<size_t>(own.size_bytes())) != 0) {
        return Comparison::kDifferent;
      }
      done += count;
    }
  }
  return Comparison::kSame;
}

// Collective. What all ranks together find.
Result<Comparison> compare_together(FileSystem& files, const std::string& path,
                                    std::span<const StateSlice> mine, Communicator& world,
                                    Stream& stream, Deadline deadline) {
  const Result<Comparison> own = compare_with(files, path, mine);
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, own.status(), deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<std::string> all,
      all_gather_bytes(world, stream, std::string(1, static_cast<char>(*own)), deadline));
  const auto any = [&](Comparison outcome) {
    return std::ranges::find(all, std::string(1, static_cast<char>(outcome))) != all.end();
  };
  if (any(Comparison::kDifferent)) return Comparison::kDifferent;
  return any(Comparison::kDamaged) ? Comparison::kDamaged : Comparison::kSame;
}

Result<std::string> write_own_shard(FileSystem& files, const Paths& paths,
                                    std::span<const StateSlice> mine, const Communicator& world) {
  // Rank 0 has made it; another node's cache may not know yet.
  LEASEHOLD_RETURN_IF_ERROR(files.make_directories(paths.temporary));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const ShardPieces shard,
      write_shard(files, paths.temporary, shard_name(world.rank(), world.size()), mine));
  return encode_shard_pieces(shard);
}

// Rank 0. From here on the checkpoint exists, or nothing of it does.
Status publish_manifest(FileSystem& files, const Paths& paths, const std::string& manifest,
                        int64_t generation) {
  LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(paths.directory));
  LEASEHOLD_RETURN_IF_ERROR(check_not_superseded(files, paths.run_dir, generation));
  // Exclusively: unlike a rename this cannot replace what a newer generation has published here
  // meanwhile.
  return files.create_exclusive(join_path(paths.final, kManifestName), manifest);
}

// Rank 0.
Status publish(FileSystem& files, const Paths& paths, const CheckpointInfo& info,
               const std::vector<std::string>& encoded_shards) {
  std::vector<ShardPieces> shards;
  for (size_t rank = 0; rank < encoded_shards.size(); ++rank) {
    LEASEHOLD_ASSIGN_OR_RETURN(
        ShardPieces shard,
        parse_shard_pieces(encoded_shards[rank], fmt::format("pieces of rank {}", rank)));
    shards.push_back(std::move(shard));
  }
  const Result<Manifest> manifest = merge_shards(info, std::move(shards));
  if (!manifest.ok()) return error(Code::kInternal, "{}", manifest.status().message());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, encode_manifest(manifest.value()));

  LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(paths.temporary));
  LEASEHOLD_RETURN_IF_ERROR(check_not_superseded(files, paths.run_dir, info.generation));
  std::string aside;  // a damaged checkpoint of this step, or the rest of a save that was cut short
  if (files.exists(paths.final)) {
    LEASEHOLD_ASSIGN_OR_RETURN(aside, set_aside(files, paths.final));
  }
  LEASEHOLD_RETURN_IF_ERROR(files.rename(paths.temporary, paths.final));
  const Status published = publish_manifest(files, paths, text, info.generation);
  if (published.code() == Code::kBadConfig) {
    return error(Code::kUnavailable, "another writer has published {} meanwhile", paths.final);
  }
  if (!published.ok()) {
    const Result<std::string> withdrawn = set_aside(files, paths.final);
    const Status removed =
        withdrawn.ok() ? files.remove_all(withdrawn.value()) : withdrawn.status();
    return removed.ok() ? published
                        : error(published.code(), "{} (and {} could not be removed: {})",
                                published.message(), paths.final, removed.message());
  }
  return aside.empty() ? ok_status() : files.remove_all(aside);
}

// Collective.
Status save_together(FileSystem& files, const Paths& paths, const CheckpointInfo& info,
                     std::span<const StateSlice> mine, Communicator& world, Stream& stream,
                     Deadline deadline) {
  const Result<bool> exists = world.rank() == 0 ? prepare(files, paths, info) : false;
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, exists.status(), deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::string decision,
      broadcast_bytes(world, stream, exists.value() ? "compare" : "write", 0, deadline));
  if (decision == "compare") {
    LEASEHOLD_ASSIGN_OR_RETURN(const Comparison found,
                               compare_together(files, paths.final, mine, world, stream, deadline));
    if (found == Comparison::kSame) return ok_status();
    if (found == Comparison::kDifferent) {
      return error(
          Code::kBadData,
          "{} exists already and holds other values: two histories in one run.dir; remove it, "
          "or choose another run.dir",
          paths.final);
    }
  }
  const Result<std::string> shard = write_own_shard(files, paths, mine, world);
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, shard.status(), deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> shards,
                             all_gather_bytes(world, stream, shard.value(), deadline));
  const Status published = world.rank() == 0 ? publish(files, paths, info, shards) : ok_status();
  return agree(world, stream, published, deadline);
}

}  // namespace

Status save_checkpoint(FileSystem& files, const std::string& run_dir, const CheckpointInfo& info,
                       std::span<const StateSlice> mine, Communicator& world, Stream& stream,
                       Deadline deadline) {
  const Paths paths(run_dir, info);
  Status saved = save_together(files, paths, info, mine, world, stream, deadline);
  if (world.rank() != 0) return saved;
  const Status removed = files.remove_all(paths.temporary);
  if (saved.ok() || removed.ok()) return saved;
  return error(saved.code(), "{} (and {} could not be removed: {})", saved.message(),
               paths.temporary, removed.message());
}

}  // namespace leasehold
