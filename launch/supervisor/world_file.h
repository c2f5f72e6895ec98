// generations/N/world.json: which hosts a generation runs on and until when. The supervisor writes
// it before mpirun starts; ranks read it to choose the partners that keep copies of their state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/leases/planner.h"
#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

struct WorldFile {
  int64_t generation = 0;
  std::vector<PlannedHost> hosts;  // ranks are dealt to them in this order

  int64_t world() const;
};

// RUN_DIR/generations/N
std::string generation_directory(const std::string& run_dir, int64_t generation);

// {"generation": N, "world": W, "hosts": [{"host": "a", "slots": 2, "lease": "x", "end_s": null,
// "provider": "", "site": ""}, ...]}; end_s is null for hosts that are owned.
std::string encode_world(const WorldFile& world);
// Strict (fuzzed): kBadData, naming `file` and the place, for anything else.
Result<WorldFile> parse_world(std::string_view text, const std::string& file);

// Writes RUN_DIR/generations/N/world.json, making the directory. kStorage.
Status write_world(FileSystem& files, const std::string& run_dir, const WorldFile& world);
// kMissingInput when there is none (a generation that no supervisor started); kBadData.
Result<WorldFile> read_world(FileSystem& files, const std::string& run_dir, int64_t generation);

}  // namespace leasehold
