// Says for each host of the calendar whether it can be used at a given time, and until when.
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
  // The lease in the calendar that holds now, else the next one, else the last one.
  const Lease* lease = nullptr;
  // kOpen: the time when the host must be given up. kNotYet and kCurtailed: the time when that
  // state ends. kOver: the time when the last lease ended. A lease is prolonged by one of the same
  // host that begins when it ends and has at least as many slots of as much memory.
  double until_s = kNever;
  double sure_s = kNever;  // kOpen: no notice can end it before this time
  std::string why;         // "its lease 'texas' ends", "it is curtailed (maintenance)"
};

// The slots in use, by host: a lease with as many slots prolongs the one before. A host that is not
// named needs as many slots as the lease before.
using UsedSlots = std::map<std::string_view, int64_t>;

// Returns the windows in the order in which hosts first appear in the calendar, which must outlive
// the result.
std::vector<HostWindow> host_windows(const LeaseCalendar& calendar, double now_s,
                                     const UsedSlots& used = {});

// Returns the first time after `now_s` at which a lease or a curtailment begins or ends.
double next_calendar_moment_s(const LeaseCalendar& calendar, double now_s);

}  // namespace leasehold
