// The times that a supervisor goes by. Durations follow the steady clock, leases the wall clock;
// when somebody sets the wall clock, nothing that was being waited for comes sooner or later.
#pragma once

#include "runtime/base/clock.h"

namespace leasehold {

struct Moment {
  // Unix time at this supervisor's start, and counted on by the steady clock: what durations are
  // differences of, and what state.json holds.
  double now_s = 0;
  // What leases are compared with: the wall clock, as long as it does not fall behind itself. After
  // it was set back, time goes on as if it had not been: a lease is never overrun, and may be left
  // early. The next supervisor believes the clock again.
  double calendar_s = 0;
  double wall_step_s = 0;  // by how much the wall clock was set since the last look; mostly 0
};

class SupervisorClock {
 public:
  // Differences below this are the wall clock being adjusted slowly.
  static constexpr double kLeastStepS = 2;

  explicit SupervisorClock(Clock& clock);

  Moment look();
  // Return what now_s was, or will be, at another moment of the steady clock, of the wall clock as
  // it goes now, and of the calendar.
  double at_steady(double steady_s) const { return start_unix_s_ + (steady_s - start_steady_s_); }
  double at_wall(double unix_s) const { return unix_s - wall_ahead_s_; }
  double at_calendar(double calendar_s) const { return calendar_s - calendar_ahead_s_; }

 private:
  Clock& clock_;
  double start_steady_s_;
  double start_unix_s_;
  double wall_ahead_s_ = 0;      // of now_s, when last looked at
  double calendar_ahead_s_ = 0;  // never falls
};

}  // namespace leasehold
