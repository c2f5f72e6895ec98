// The CPU's Event. Each record has a ticket; waiting means waiting for the newest record that had
// been enqueued when the wait was: a later one, on whichever stream, neither prolongs the wait nor
// ends it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "runtime/device/cpu_stream.h"

namespace leasehold {

class CpuEvent : public Event, public Waitable {
 public:
  explicit CpuEvent(bool timed = false) : timed_(timed) {}

  static CpuEvent& from(Event& event);
  static const CpuEvent& from(const Event& event);

  // A record was enqueued; its ticket.
  uint64_t announce();
  // The stream reached the record with `ticket`, having failed with `status` or not.
  void reach(uint64_t ticket, const Status& status);
  // The ticket of the newest record (0: none).
  uint64_t newest() const;

  bool ready() const override;
  Status wait(Deadline deadline) const override { return wait_for(newest(), deadline); }
  Status wait_for(uint64_t ticket, Deadline deadline) const override;
  Result<double> seconds_since(const Event& earlier) const override;

 private:
  bool is_reached(uint64_t ticket) const;
  // When the newest record was reached.
  Result<Deadline::TimePoint> time() const;

  mutable std::mutex mutex_;
  mutable std::condition_variable reached_changed_;
  uint64_t announced_ = 0;
  std::vector<uint64_t> under_way_;  // announced, not reached; keeps its capacity
  uint64_t newest_reached_ = 0;
  Status status_;  // of the newest record reached
  const bool timed_;
  Deadline::TimePoint time_;  // of the newest record reached
};

}  // namespace leasehold
