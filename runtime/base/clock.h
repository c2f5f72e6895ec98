// Clocks, which tests can replace, and deadlines. Durations are seconds in double. Steady time
// orders events; wall time dates them.
#pragma once

#include <chrono>
#include <string>

namespace leasehold {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual double steady_s() = 0;  // monotonic, arbitrary origin
  virtual double unix_s() = 0;    // seconds since 1970-01-01 UTC
  virtual void sleep_s(double seconds) = 0;
};

// Returns the clock of this machine.
Clock& system_clock();

// A clock that a test moves by hand; sleeping advances it.
class ManualClock : public Clock {
 public:
  explicit ManualClock(double unix_s = 0) : unix_s_(unix_s) {}
  double steady_s() override { return steady_s_; }
  double unix_s() override { return unix_s_ + steady_s_; }
  void sleep_s(double seconds) override { steady_s_ += seconds; }

 private:
  double unix_s_;
  double steady_s_ = 0;
};

// Formats a time as "2026-11-21T21:53:57.123Z", rounded to the nearest millisecond.
std::string format_utc(double unix_s);

// The time on the machine's steady clock by which a wait must end. Every wait has a deadline.
class Deadline {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  static Deadline after_s(double seconds);
  bool passed() const { return std::chrono::steady_clock::now() >= at_; }
  double remaining_s() const;
  TimePoint time_point() const { return at_; }

 private:
  explicit Deadline(TimePoint at) : at_(at) {}
  TimePoint at_;
};

}  // namespace leasehold
