// Where the newest state of a job is: in which hosts' memory, and in files. A generation that
// begins without the hosts that hold it goes back to an older one. Pure.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "launch/leases/planner.h"

namespace leasehold {

// A part of a snapshot: it is on a host, and a copy of it on another.
struct HeldPart {
  std::string host;
  std::string copy;  // "": there is none

  auto operator<=>(const HeldPart&) const = default;
};

struct HeldState {
  int64_t generation = 0;       // that made the snapshot
  int64_t step = -1;            // of the newest committed snapshot; -1: none
  std::vector<HeldPart> parts;  // of that snapshot, each once
  int64_t durable_step = -1;    // of the newest checkpoint in files; -1: none is known
  bool files_failed = false;    // a generation that began from files alone found none that is good

  // The newest step that files are known to give; 0: the job begins anew.
  int64_t step_of_files() const { return files_failed || durable_step < 0 ? 0 : durable_step; }
  bool operator==(const HeldState&) const = default;
};

// Returns the parts of a snapshot that the ranks of these hosts make.
std::vector<HeldPart> parts_on(const std::vector<PlannedHost>& hosts);

// Returns the hosts in whose memory the newest state is; none when it is in files.
std::set<std::string> holders(const HeldState& held);

// Returns the hosts, by name, of which some have to be there as well before a generation on `hosts`
// finds the newest state; empty when it is in files, or when they hold all of it together.
std::vector<std::string> missing_holders(const HeldState& held,
                                         const std::vector<PlannedHost>& hosts);

}  // namespace leasehold
