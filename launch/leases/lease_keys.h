// The keys of [[lease]] and [[curtailment]]: their types and ranges, and which of them are
// required.
#pragma once

#include <string>

#include "launch/leases/lease_calendar.h"
#include "launch/leases/lease_toml.h"

namespace leasehold {

// Make one entry of the file into a Lease or a Curtailment. kBadConfig, naming file, line and key,
// for an unknown key, a wrong type or value, a missing key, or an end that is not after its begin.
Result<Lease> make_lease(const LeaseTable& table, const std::string& path, double first_launch_s);
Result<Curtailment> make_curtailment(const LeaseTable& table, const std::string& path,
                                     double first_launch_s);

}  // namespace leasehold
