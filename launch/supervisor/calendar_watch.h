// The lease calendar as it is now: edits take effect while the job runs, and a bad one leaves the
// calendar as it was.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "launch/leases/lease_calendar.h"
#include "launch/supervisor/bookkeeping.h"
#include "runtime/base/files.h"

namespace leasehold {

class CalendarWatch {
 public:
  // Reads it for the first time; errors as load_lease_calendar.
  static Result<CalendarWatch> open(FileSystem& files, const std::string& path,
                                    double first_launch_s);

  const LeaseCalendar& calendar() const { return calendar_; }
  // Reads the file again. An event when it changed: "calendar_changed", or "calendar_rejected" with
  // what is wrong with it, once for each bad text.
  std::vector<SupervisorEvent> look();
  // Returns the hosts that a lease gives us at some moment from the first to the second.
  std::set<std::string> leased(double from_s, double until_s) const;

 private:
  CalendarWatch(FileSystem& files, std::string path, double first_launch_s)
      : files_(&files), path_(std::move(path)), first_launch_s_(first_launch_s) {}

  FileSystem* files_;
  std::string path_;
  double first_launch_s_;
  std::string text_;  // as last read; of an unreadable file the problem
  LeaseCalendar calendar_;
};

}  // namespace leasehold
