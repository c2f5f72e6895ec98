// The CPU's Event: a counter of records enqueued and of records reached. Waiting means waiting for
// the newest record that had been enqueued when the wait was; a later record does not prolong it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "runtime/device/cpu_stream.h"

namespace leasehold {

class CpuEvent : public Event, public Waitable {
 public:
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

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable reached_changed_;
  uint64_t announced_ = 0;
  uint64_t reached_ = 0;
  Status status_;
};

}  // namespace leasehold
