// restore_newest: the ranks go through snapshots and checkpoints together, newest first, until one
// loads everywhere.
#include "runtime/checkpoint/restore.h"

#include <memory>
#include <utility>

#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

bool damaged(const Status& status) {
  return status.code() == Code::kBadData || status.code() == Code::kMissingInput;
}

struct Listing {
  std::vector<CheckpointHandle> found;
  std::vector<CheckpointRejected> rejected;
};

// Collective. The candidates' paths, newest first, one a line, as rank 0 sees them, after a first
// line that says whether there is a damaged one besides.
Result<std::vector<std::string>> list_together(FileWork& work, const std::string& run_dir,
                                               Communicator& world, Stream& stream,
                                               std::vector<CheckpointRejected>& rejected,
                                               bool& any_damaged) {
  const auto listing = std::make_shared<Listing>();
  LEASEHOLD_RETURN_IF_ERROR(work.on_rank_0(
      world, stream, "looking for checkpoints", [run_dir, listing](FileSystem& files) -> Status {
        LEASEHOLD_ASSIGN_OR_RETURN(listing->found,
                                   list_checkpoints(files, run_dir, listing->rejected));
        return ok_status();
      }));
  bool damage = false;
  for (const CheckpointRejected& entry : listing->rejected) damage = damage || !entry.unfinished;
  std::string text = damage ? "damage\n" : "none\n";
  for (const CheckpointHandle& handle : listing->found) text += handle.path + "\n";
  rejected.insert(rejected.end(), listing->rejected.begin(), listing->rejected.end());
  LEASEHOLD_ASSIGN_OR_RETURN(text, broadcast_bytes(world, stream, text, 0, work.deadline()));
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  any_damaged = lines.front() == "damage";
  lines.erase(lines.begin());
  return lines;
}

// Collective. What the ranks agree on of a checkpoint before they read it.
Result<CheckpointHandle> open_together(FileWork& work, const std::string& path, Communicator& world,
                                       Stream& stream) {
  const auto handle = std::make_shared<CheckpointHandle>();
  LEASEHOLD_RETURN_IF_ERROR(
      work.together(world, stream, "opening " + path, [path, handle](FileSystem& files) -> Status {
        LEASEHOLD_ASSIGN_OR_RETURN(*handle, open_checkpoint(files, path));
        return ok_status();
      }));
  return *handle;
}

int64_t step_of(const std::string& path) {
  return parse_checkpoint_name(path.substr(path.rfind('/') + 1)).value_or(-1);
}

Status none_usable(const std::string& run_dir, const std::vector<CheckpointRejected>& rejected) {
  std::string reasons;
  for (const CheckpointRejected& entry : rejected) reasons += "\n  " + entry.reason;
  return error(
      Code::kBadData,
      "{} has checkpoints, and none of them can be used:{}\nRestore one from a copy, or start "
      "anew in another run.dir",
      run_dir, reasons);
}

}  // namespace

Status load_together(FileWork& work, const CheckpointHandle& checkpoint,
                     std::span<const StateSlice> wanted, Communicator& world, Stream& stream) {
  return work.together(
      world, stream, "loading " + checkpoint.path,
      [checkpoint, slices = std::vector<StateSlice>(wanted.begin(), wanted.end())](
          FileSystem& files) { return load_checkpoint(files, checkpoint, slices); });
}

Result<std::optional<Restored>> restore_newest(
    FileWork& work, const std::string& run_dir, const std::optional<MemorySources>& memory,
    const std::function<Status(const CheckpointHandle&)>& accept,
    std::span<const StateSlice> wanted, Communicator& world, Stream& stream,
    std::vector<CheckpointRejected>& rejected) {
  bool any_damaged = false;
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                             list_together(work, run_dir, world, stream, rejected, any_damaged));
  SnapshotInventory inventory;
  std::vector<SnapshotCandidate> snapshots;
  if (memory) {
    LEASEHOLD_ASSIGN_OR_RETURN(inventory,
                               gather_inventory(*memory, world, stream, work.deadline()));
    rejected.insert(rejected.end(), inventory.rejected.begin(), inventory.rejected.end());
    snapshots = find_candidates(inventory.copies);
  }
  auto snapshot = snapshots.begin();
  auto path = paths.begin();
  while (snapshot != snapshots.end() || path != paths.end()) {
    const bool from_memory =
        snapshot != snapshots.end() && (path == paths.end() || snapshot->step >= step_of(*path));
    if (from_memory) {
      auto loaded = load_snapshot(*memory, *snapshot, inventory, accept, wanted, world, stream,
                                  work.deadline(), rejected);
      if (loaded.ok()) {
        return std::optional(Restored{.checkpoint = std::move(loaded->handle),
                                      .from_memory = true,
                                      .texts = loaded->texts,
                                      .slots = std::move(loaded->slots)});
      }
      if (!damaged(loaded.status())) return loaded.status();
      rejected.push_back(
          {fmt::format("snapshot of step {}", snapshot->step), loaded.status().message()});
      ++snapshot;
      continue;
    }
    const Result<CheckpointHandle> handle = open_together(work, *path, world, stream);
    Status status = handle.status();
    if (status.ok()) {
      const Status accepted = accept(*handle);
      LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, accepted, work.deadline()));
      status = load_together(work, *handle, wanted, world, stream);
    }
    if (status.ok()) return std::optional(Restored{.checkpoint = *handle});
    if (!damaged(status)) return status;
    rejected.push_back({*path, status.message()});
    any_damaged = true;
    ++path;
  }
  if (any_damaged) return none_usable(run_dir, rejected);
  return std::optional<Restored>();
}

}  // namespace leasehold
