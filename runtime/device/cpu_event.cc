#include "runtime/device/cpu_event.h"

#include <algorithm>
#include <chrono>

#include "runtime/base/check.h"

namespace leasehold {

std::unique_ptr<Event> create_cpu_event() { return std::make_unique<CpuEvent>(); }

CpuEvent& CpuEvent::from(Event& event) {
  auto* cpu_event = dynamic_cast<CpuEvent*>(&event);
  LEASEHOLD_CHECK(cpu_event != nullptr, "an event of another device on a CPU stream");
  return *cpu_event;
}

const CpuEvent& CpuEvent::from(const Event& event) { return from(const_cast<Event&>(event)); }

uint64_t CpuEvent::announce() {
  std::lock_guard lock(mutex_);
  under_way_.push_back(++announced_);
  return announced_;
}

void CpuEvent::reach(uint64_t ticket, const Status& status) {
  const auto now = timed_ ? std::chrono::steady_clock::now() : Deadline::TimePoint();
  std::lock_guard lock(mutex_);
  under_way_.erase(std::remove(under_way_.begin(), under_way_.end(), ticket), under_way_.end());
  if (ticket > newest_reached_) {
    newest_reached_ = ticket;
    status_ = status;
    time_ = now;
  }
  // Under the lock: a waiter may destroy the event as soon as it sees the record reached.
  reached_changed_.notify_all();
}

uint64_t CpuEvent::newest() const {
  std::lock_guard lock(mutex_);
  return announced_;
}

bool CpuEvent::ready() const {
  std::lock_guard lock(mutex_);
  return is_reached(announced_);
}

Status CpuEvent::wait_for(uint64_t ticket, Deadline deadline) const {
  std::unique_lock lock(mutex_);
  if (!reached_changed_.wait_until(lock, deadline.time_point(),
                                   [&] { return is_reached(ticket); })) {
    return error(Code::kUnavailable, "an event was not reached in time");
  }
  return status_;
}

Result<Deadline::TimePoint> CpuEvent::time() const {
  if (!timed_) return error(Code::kInternal, "an event that takes no times was asked for one");
  std::lock_guard lock(mutex_);
  if (announced_ == 0) return error(Code::kInternal, "an event was never recorded and has no time");
  if (!is_reached(announced_)) return error(Code::kUnavailable, "an event is not reached yet");
  return time_;
}

Result<double> CpuEvent::seconds_since(const Event& earlier) const {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto from, CpuEvent::from(earlier).time());
  LEASEHOLD_ASSIGN_OR_RETURN(const auto to, time());
  return std::chrono::duration<double>(to - from).count();
}

bool CpuEvent::is_reached(uint64_t ticket) const {
  return std::find(under_way_.begin(), under_way_.end(), ticket) == under_way_.end();
}

}  // namespace leasehold
