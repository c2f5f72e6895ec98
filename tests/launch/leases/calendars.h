// Makes leases in few words.
#pragma once

#include <string>
#include <vector>

#include "launch/leases/lease_calendar.h"

namespace leasehold {

inline Lease lease(const std::string& id, const std::vector<std::string>& hosts, int64_t slots,
                   double begin_s = -kNever, double end_s = kNever) {
  Lease lease;
  lease.id = id;
  lease.hosts = hosts;
  lease.slots = slots;
  lease.begin_s = begin_s;
  lease.end_s = end_s;
  return lease;
}

}  // namespace leasehold
