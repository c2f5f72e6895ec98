// Planned hosts as JSON, for world.json and state.json. For sources: brings in nlohmann/json.
#pragma once

#include <vector>

#include "launch/leases/planner.h"
#include "runtime/base/json_reader.h"

namespace leasehold {

// A moment, with null for kNever.
nlohmann::ordered_json encode_moment(double unix_s);
Result<double> parse_moment(const JsonCursor& at);

nlohmann::ordered_json encode_hosts(const std::vector<PlannedHost>& hosts);
Result<std::vector<PlannedHost>> parse_hosts(const JsonCursor& at);

}  // namespace leasehold
