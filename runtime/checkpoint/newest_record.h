// The description of a run's newest state, read before anything is restored: the ranks set
// themselves up by some of it.
#pragma once

#include <optional>
#include <string>

#include "runtime/base/files.h"
#include "runtime/checkpoint/checkpoint_info.h"

namespace leasehold {

struct NewestRecord {
  std::string path;  // of the checkpoint, or of the snapshot's description
  CheckpointInfo info;
};

// Finds the newest of the checkpoints in run_dir and of the snapshots of the run's lineage that lie
// in `memory_directory` for `node` ("" as memory_directory: checkpoints only). Local. Reads
// descriptions only. Returns nothing when none can be read: restoring says why.
std::optional<NewestRecord> find_newest_record(FileSystem& files, const std::string& run_dir,
                                               const std::string& memory_directory,
                                               const std::string& node);

}  // namespace leasehold
