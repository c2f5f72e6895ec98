// Locks and waits of the emulation's own. The thread sanitizer knows the standard library's locks
// and would take each for an order between streams that CUDA does not promise; of these it sees
// nothing. What CUDA does order is said to it by annotate.h.
#pragma once

#include <atomic>
#include <cstdint>

namespace leasehold::emulation {

class FutexMutex {
 public:
  void lock();
  void unlock();

 private:
  std::atomic<uint32_t> state_{0};  // 0 free, 1 held, 2 held and waited for
};

class FutexGuard {
 public:
  explicit FutexGuard(FutexMutex& mutex) : mutex_(mutex) { mutex_.lock(); }
  ~FutexGuard() { mutex_.unlock(); }
  FutexGuard(const FutexGuard&) = delete;
  FutexGuard& operator=(const FutexGuard&) = delete;

 private:
  FutexMutex& mutex_;
};

// As a condition variable: wait() may return for no reason.
class FutexCondition {
 public:
  // `timeout_us` < 0 waits for ever.
  void wait(FutexMutex& mutex, int64_t timeout_us = -1);
  void notify_all();

 private:
  std::atomic<uint32_t> sequence_{0};
};

}  // namespace leasehold::emulation
