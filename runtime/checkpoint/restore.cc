// restore_newest: the ranks go through snapshots and checkpoints together, newest first, until one
// loads everywhere.
#include "runtime/checkpoint/restore.h"

#include <utility>

#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

bool damaged(const Status& status) {
  return status.code() == Code::kBadData || status.code() == Code::kMissingInput;
}

// Collective. The candidates' paths, newest first, one a line, as rank 0 sees them, behind a first
// line that says whether there is a damaged one besides.
Result<std::vector<std::string>> list_together(FileSystem& files, const std::string& run_dir,
                                               Communicator& world, Stream& stream,
                                               Deadline deadline,
                                               std::vector<CheckpointRejected>& rejected,
                                               bool& any_damaged) {
  std::string text;
  Status listed;
  if (world.rank() == 0) {
    const Result<std::vector<CheckpointHandle>> found = list_checkpoints(files, run_dir, rejected);
    listed = found.status();
    bool damage = false;
    for (const CheckpointRejected& entry : rejected) damage = damage || !entry.unfinished;
    text = damage ? "damage\n" : "none\n";
    if (found.ok()) {
      for (const CheckpointHandle& handle : found.value()) text += handle.path + "\n";
    }
  }
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, listed, deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(text, broadcast_bytes(world, stream, text, 0, deadline));
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

Result<std::optional<Restored>> restore_newest(
    FileSystem& files, const std::string& run_dir, const std::optional<MemorySources>& memory,
    const std::function<Status(const CheckpointHandle&)>& accept,
    std::span<const StateSlice> wanted, Communicator& world, Stream& stream, Deadline deadline,
    std::vector<CheckpointRejected>& rejected) {
  bool any_damaged = false;
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<std::string> paths,
      list_together(files, run_dir, world, stream, deadline, rejected, any_damaged));
  std::vector<SnapshotCopy> copies;
  std::vector<SnapshotCandidate> snapshots;
  if (memory) {
    LEASEHOLD_ASSIGN_OR_RETURN(
        copies, gather_inventory(memory->directory, memory->prefix, memory->lineage, memory->nodes,
                                 world, stream, deadline));
    snapshots = find_candidates(copies);
  }
  auto snapshot = snapshots.begin();
  auto path = paths.begin();
  while (snapshot != snapshots.end() || path != paths.end()) {
    const bool from_memory =
        snapshot != snapshots.end() && (path == paths.end() || snapshot->step >= step_of(*path));
    if (from_memory) {
      const auto handle = load_snapshot(*memory, *snapshot, copies, accept, wanted, world, stream,
                                        deadline, rejected);
      if (handle.ok()) return std::optional(Restored{*handle, true});
      if (!damaged(handle.status())) return handle.status();
      rejected.push_back(
          {fmt::format("snapshot of step {}", snapshot->step), handle.status().message()});
      ++snapshot;
      continue;
    }
    const Result<CheckpointHandle> handle = open_checkpoint(files, *path);
    Status status = agree(world, stream, handle.status(), deadline);
    if (status.ok()) {
      LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, accept(handle.value()), deadline));
      status = agree(world, stream, load_checkpoint(files, handle.value(), wanted), deadline);
    }
    if (status.ok()) return std::optional(Restored{handle.value(), false});
    if (!damaged(status)) return status;
    rejected.push_back({*path, status.message()});
    any_damaged = true;
    ++path;
  }
  if (any_damaged) return none_usable(run_dir, rejected);
  return std::optional<Restored>();
}

}  // namespace leasehold
