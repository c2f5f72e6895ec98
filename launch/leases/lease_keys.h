// The keys of [[lease]], [[curtailment]] and [[contract]]: their types and ranges, and which of
// them are required.
#pragma once

#include <string>

#include "launch/leases/lease_calendar.h"
#include "launch/leases/lease_toml.h"

namespace leasehold {

// Make one entry of the file into a Lease, a Curtailment or a Contract. kBadConfig, naming file,
// line and key, for an unknown key, a wrong type or value, a missing key, or an end that is not
// after its begin.
Result<Lease> make_lease(const LeaseTable& table, const std::string& path, double first_launch_s);
Result<Curtailment> make_curtailment(const LeaseTable& table, const std::string& path,
                                     double first_launch_s);
Result<Contract> make_contract(const LeaseTable& table, const std::string& path);

}  // namespace leasehold
