#include "launch/supervisor/supervisor_clock.h"

#include <algorithm>
#include <cmath>

namespace leasehold {

SupervisorClock::SupervisorClock(Clock& clock)
    : clock_(clock), start_steady_s_(clock.steady_s()), start_unix_s_(clock.unix_s()) {}

Moment SupervisorClock::look() {
  Moment moment;
  moment.now_s = at_steady(clock_.steady_s());
  const double ahead_s = clock_.unix_s() - moment.now_s;
  const double moved_s = ahead_s - wall_ahead_s_;
  if (std::abs(moved_s) >= kLeastStepS) moment.wall_step_s = moved_s;
  wall_ahead_s_ = ahead_s;
  calendar_ahead_s_ = std::max(calendar_ahead_s_, ahead_s);
  moment.calendar_s = moment.now_s + calendar_ahead_s_;
  return moment;
}

}  // namespace leasehold
