// save_checkpoint: the collective part and the publication. A shard is written by shard_writer.cc.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/checkpoint/checkpoint_directory.h"
#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/run_directory.h"
#include "runtime/checkpoint/shard_index.h"
#include "runtime/checkpoint/shard_writer.h"
#include "runtime/comm/gather_bytes.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// The elements of an existing checkpoint that are held at once to compare it.
constexpr int64_t kCompareElements = 16 * kMaxPieceElements;
constexpr int kSaveAttempts = 3;

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
  // Its writer may have died between the rename and its sync.
  if (existing.ok()) LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(paths.directory));
  const Code code = existing.status().code();
  const bool absent_or_damaged = code == Code::kMissingInput || code == Code::kBadData;
  if (!existing.ok() && !absent_or_damaged) return existing.status();
  return existing.ok();
}

// Compares this rank's slices with those of the checkpoint at `path`. Local. kBadConfig when it is
// not there any more.
enum class Comparison : char { kSame = 's', kDifferent = 'd', kDamaged = 'x' };
Result<Comparison> compare_with(FileSystem& files, const std::string& path,
                                std::span<const StateSlice> mine) {
  const Result<CheckpointHandle> handle = open_checkpoint(files, path);
  if (handle.status().code() == Code::kBadData) return Comparison::kDamaged;
  // Another writer is replacing it.
  if (handle.status().code() == Code::kMissingInput)
    return error(Code::kBadConfig, "{}", handle.status().message());
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

// Parts of a save, shared with a thread that may be left behind on a file.
struct SaveJob {
  Paths paths;
  CheckpointInfo info;
  std::vector<StateSlice> mine;
  std::string what;
};
using SaveJobPtr = std::shared_ptr<const SaveJob>;

// Collective. What all ranks together find.
Result<Comparison> compare_together(FileWork& work, const SaveJobPtr& job, Communicator& world,
                                    Stream& stream) {
  const auto own = std::make_shared<Comparison>(Comparison::kSame);
  LEASEHOLD_RETURN_IF_ERROR(
      work.together(world, stream, job->what, [job, own](FileSystem& files) -> Status {
        LEASEHOLD_ASSIGN_OR_RETURN(*own, compare_with(files, job->paths.final, job->mine));
        return ok_status();
      }));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<std::string> all,
      all_gather_bytes(world, stream, std::string(1, static_cast<char>(*own)), work.deadline()));
  const auto any = [&](Comparison outcome) {
    return std::ranges::find(all, std::string(1, static_cast<char>(outcome))) != all.end();
  };
  if (any(Comparison::kDifferent)) return Comparison::kDifferent;
  return any(Comparison::kDamaged) ? Comparison::kDamaged : Comparison::kSame;
}

// Collective. The summary of this rank's shard, encoded.
Result<std::string> write_together(FileWork& work, const SaveJobPtr& job, Communicator& world,
                                   Stream& stream) {
  const auto summary = std::make_shared<std::string>();
  const std::string name = shard_name(world.rank(), world.size());
  LEASEHOLD_RETURN_IF_ERROR(
      work.together(world, stream, job->what, [job, name, summary](FileSystem& files) -> Status {
        // Rank 0 has made it; another node's cache may not know yet.
        LEASEHOLD_RETURN_IF_ERROR(files.make_directories(job->paths.temporary));
        LEASEHOLD_ASSIGN_OR_RETURN(const ShardPieces shard,
                                   write_shard(files, job->paths.temporary, name, job->mine));
        LEASEHOLD_ASSIGN_OR_RETURN(*summary, encode_summary(summarize(shard)));
        return ok_status();
      }));
  return *summary;
}

// Rank 0. `replace`: the checkpoint that has the name is damaged. kBadConfig when another writer
// has published this step meanwhile.
Status publish(FileSystem& files, const Paths& paths, const CheckpointInfo& info,
               const std::vector<std::string>& summaries, bool replace) {
  const Result<Manifest> manifest = merge_summaries(info, summaries);
  if (!manifest.ok()) return error(Code::kInternal, "{}", manifest.status().message());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, encode_manifest(manifest.value()));
  LEASEHOLD_RETURN_IF_ERROR(
      files.create_exclusive(join_path(paths.temporary, kManifestName), text));  // and syncs there
  LEASEHOLD_RETURN_IF_ERROR(check_not_superseded(files, paths.run_dir, info.generation));
  Status renamed = files.rename(paths.temporary, paths.final);
  if (renamed.code() == Code::kBadConfig) {
    if (!replace && open_checkpoint(files, paths.final).ok()) return renamed;
    LEASEHOLD_RETURN_IF_ERROR(remove_checkpoint(files, paths.final, info.generation));
    renamed = files.rename(paths.temporary, paths.final);
  }
  LEASEHOLD_RETURN_IF_ERROR(renamed);
  return files.sync_directory(paths.directory);
}

// Collective. True when a checkpoint of this step can be read.
Result<bool> prepare_together(FileWork& work, const SaveJobPtr& job, Communicator& world,
                              Stream& stream) {
  const auto exists = std::make_shared<bool>(false);
  LEASEHOLD_RETURN_IF_ERROR(
      work.on_rank_0(world, stream, job->what, [job, exists](FileSystem& files) -> Status {
        LEASEHOLD_ASSIGN_OR_RETURN(*exists, prepare(files, job->paths, job->info));
        return ok_status();
      }));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::string decision,
      broadcast_bytes(world, stream, *exists ? "compare" : "write", 0, work.deadline()));
  return decision == "compare";
}

// Collective. kBadConfig when another writer acts on this step meanwhile.
Status try_to_save(FileWork& work, const SaveJobPtr& job, Communicator& world, Stream& stream) {
  LEASEHOLD_ASSIGN_OR_RETURN(const bool exists, prepare_together(work, job, world, stream));
  if (exists) {
    LEASEHOLD_ASSIGN_OR_RETURN(const Comparison found, compare_together(work, job, world, stream));
    if (found == Comparison::kSame) return ok_status();
    if (found == Comparison::kDifferent) {
      return error(
          Code::kBadData,
          "{} exists already and holds other values: two histories in one run.dir; remove it, "
          "or choose another run.dir",
          job->paths.final);
    }
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string summary, write_together(work, job, world, stream));
  LEASEHOLD_ASSIGN_OR_RETURN(std::vector<std::string> summaries,
                             gather_bytes(world, stream, summary, work.deadline()));
  return work.on_rank_0(world, stream, job->what,
                        [job, exists, summaries = std::move(summaries)](FileSystem& files) {
                          return publish(files, job->paths, job->info, summaries, exists);
                        });
}

// Collective. What another writer published meanwhile is compared, as if it had been there before.
Status save_together(FileWork& work, const SaveJobPtr& job, Communicator& world, Stream& stream) {
  Status saved;
  for (int attempt = 0; attempt < kSaveAttempts; ++attempt) {
    saved = try_to_save(work, job, world, stream);
    if (saved.code() != Code::kBadConfig) return saved;
  }
  return error(Code::kStorage, "{}", saved.message());
}

}  // namespace

Status save_checkpoint(FileWork& work, const std::string& run_dir, const CheckpointInfo& info,
                       std::vector<StateSlice> mine, Communicator& world, Stream& stream) {
  const auto job = std::make_shared<const SaveJob>(
      SaveJob{.paths = Paths(run_dir, info),
              .info = info,
              .mine = std::move(mine),
              .what = fmt::format("the save of step {}", info.step)});
  Status saved = save_together(work, job, world, stream);
  // What was written before is removed also where the outcome is bad. Where a part hangs, or the
  // ranks cannot meet any more, it stays for the next save, or generation.
  const Status removed = work.on_rank_0(world, stream, job->what, [job](FileSystem& files) {
    return files.remove_all(job->paths.temporary);
  });
  if (saved.ok() || removed.ok()) return saved;
  return error(saved.code(), "{} (and {} could not be removed: {})", saved.message(),
               job->paths.temporary, removed.message());
}

}  // namespace leasehold
