// Runs `leasehold node`, which gives a rank the name of its node if the launcher cannot.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

// Finds the node of a rank in a list like "iowa-a:2,texas-b:1"; ranks are assigned in its order.
// kUsage if the list is malformed or has no such rank. Pure.
Result<std::string> node_of_rank(std::string_view nodes, int64_t rank);

// Sets LEASEHOLD_NODE to the node of this rank and executes `command`. The rank comes from the
// environment of Open MPI, PMIx or PMI. Returns only on failure: kUsage without such a rank,
// kMissingInput if the program does not exist.
Status run_node_command(const std::string& nodes, std::vector<std::string> command);

}  // namespace leasehold
