// The calendar, seen from each host at one moment: can it be used, and until when.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "launch/leases/lease_calendar.h"

namespace leasehold {

struct HostWindow {
  enum class State { kOpen, kNotYet, kOver, kCurtailed };
  std::string host;
  State state = State::kOver;
  const Lease* lease =
      nullptr;  // of the calendar: that holds now, else the next, else the last one
  // kOpen: when the host has to be given up. kNotYet and kCurtailed: when that is over. kOver: when
  // the last lease ended. A lease that begins where another of the same host ends, with at least
  // as many slots of as much memory, prolongs it.
  double until_s = kNever;
  double sure_s = kNever;  // kOpen: no notice can end it before
  std::string why;         // "its lease 'texas' ends", "it is curtailed (maintenance)"
};

// By host: the slots that are in use; a lease that has as many prolongs the one before. Where a
// host is not named it needs as many as the lease before.
using UsedSlots = std::map<std::string_view, int64_t>;

// In the order in which the hosts first appear in the calendar, which must outlive the result.
std::vector<HostWindow> host_windows(const LeaseCalendar& calendar, double now_s,
                                     const UsedSlots& used = {});

// The first moment behind `now_s` at which a lease or a curtailment begins or ends.
double next_calendar_moment_s(const LeaseCalendar& calendar, double now_s);

}  // namespace leasehold
