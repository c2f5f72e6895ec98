// Names inside run.dir/checkpoints, and taking a checkpoint away in one step. Internal to this
// folder.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

inline constexpr const char* kManifestName = "manifest.json";

// ".tmp-step-00000100-g0003": where generation 3 prepares that step. Whatever starts with ".tmp-"
// does not exist for readers and may be removed once its writer is dead.
std::string temporary_name(int64_t step, int64_t generation);

// Creates the directory with its ancestors, durably: the name of each that was missing is synced.
Status make_durable_directories(FileSystem& files, const std::string& path);

// Renames the checkpoint at `path` to a temporary name in its directory, durably, so that it is
// gone at once and never seen half removed. Returns the new path, to be removed at leisure.
Result<std::string> set_aside(FileSystem& files, const std::string& path);

}  // namespace leasehold
