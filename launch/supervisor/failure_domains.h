// Where a host stands, as ranks and supervisor alike see it when partners are chosen.
#pragma once

#include <fmt/format.h>

#include "launch/leases/planner.h"
#include "runtime/checkpoint/partners.h"

namespace leasehold {

inline FailureDomain failure_domain(const PlannedHost& host) {
  return {.node = host.host,
          .lease_end = fmt::format("{:.0f}", host.end_s),
          .site = host.site,
          .provider = host.provider};
}

}  // namespace leasehold
