#include "launch/supervisor/calendar_watch.h"

namespace leasehold {

Result<CalendarWatch> CalendarWatch::open(FileSystem& files, const std::string& path,
                                          double first_launch_s) {
  CalendarWatch watch(files, path, first_launch_s);
  LEASEHOLD_ASSIGN_OR_RETURN(watch.text_, read_lease_calendar(files, path));
  LEASEHOLD_ASSIGN_OR_RETURN(watch.calendar_,
                             parse_lease_calendar(watch.text_, path, first_launch_s));
  return watch;
}

std::vector<SupervisorEvent> CalendarWatch::look() {
  const auto read = read_lease_calendar(*files_, path_);
  const std::string text = read.ok() ? *read : read.status().message();
  if (text == text_) return {};
  text_ = text;
  const auto parsed = read.ok() ? parse_lease_calendar(text, path_, first_launch_s_)
                                : Result<LeaseCalendar>(read.status());
  if (!parsed.ok()) {
    return {{"calendar_rejected",
             fmt::format("{}; the calendar as it was stays in force", parsed.status().message()),
             {}}};
  }
  calendar_ = *parsed;
  return {{"calendar_changed",
           fmt::format("{} was edited: {} leases and {} curtailments now", path_,
                       calendar_.leases.size(), calendar_.curtailments.size()),
           {}}};
}

std::set<std::string> CalendarWatch::leased(double from_s, double until_s) const {
  std::set<std::string> hosts;
  for (const Lease& lease : calendar_.leases) {
    if (until_s < lease.begin_s || from_s >= lease.end_s) continue;
    hosts.insert(lease.hosts.begin(), lease.hosts.end());
  }
  return hosts;
}

}  // namespace leasehold
