// Names inside run.dir/checkpoints, and taking away what may be taken away. Internal to this
// folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/files.h"

namespace leasehold {

inline constexpr const char* kManifestName = "manifest.json";

// ".tmp-step-00000100-g0003": where generation 3 prepares that step. Whatever starts with ".tmp-"
// does not exist for readers. Only its generation and newer ones may remove it.
std::string temporary_name(int64_t step, int64_t generation);
// The generation in such a name; 0 where a name that starts with ".tmp-" has none (older programs
// set checkpoints aside under one), nothing for other names.
std::optional<int64_t> parse_temporary_name(std::string_view name);

// Creates the directory with its ancestors, durably: the name of each that was missing is synced.
Status make_durable_directories(FileSystem& files, const std::string& path);

// Removes the checkpoint, or the rest of one, at `path`: its manifest first, durably, so that it is
// gone at once and never seen half removed. Removing what is not there is ok. kUnavailable, and
// nothing is removed, when a generation newer than `generation` wrote it. What is removed is what
// was looked at, even where a newer generation renames a checkpoint of its own to `path` meanwhile.
Status remove_checkpoint(FileSystem& files, const std::string& path, int64_t generation);

}  // namespace leasehold
