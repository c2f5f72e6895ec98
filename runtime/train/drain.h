// The wish that a run stops at the next point where nothing is lost. Set from a signal handler, a
// control channel or
// --stop-after; read between phases; the ranks agree before they act.
#pragma once

#include <atomic>

namespace leasehold {

class DrainRequest {
 public:
  // Async-signal-safe. `signal` is the signal's number, or 0 for other reasons.
  void request(int signal = 0) {
    signal_.store(signal, std::memory_order_relaxed);
    requested_.store(true, std::memory_order_release);
  }
  bool requested() const { return requested_.load(std::memory_order_acquire); }
  int signal() const { return signal_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
  std::atomic<int> signal_{0};
  static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);
};

}  // namespace leasehold
