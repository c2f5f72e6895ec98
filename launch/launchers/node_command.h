// `leasehold node`: gives a rank the name of its node where the launcher cannot.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

// Finds the node of a rank in a list like "iowa-a:2,texas-b:1", in whose order ranks are dealt.
// kUsage when the list is malformed or has no such rank. Pure.
Result<std::string> node_of_rank(std::string_view nodes, int64_t rank);

// Sets LEASEHOLD_NODE to the node of this rank and becomes `command`. The rank is the one that
// Open MPI, PMIx or PMI put into the environment. Returns only in case of an error: kUsage without
// such a rank, kMissingInput when there is no such program.
Status run_node_command(const std::string& nodes, std::vector<std::string> command);

}  // namespace leasehold
