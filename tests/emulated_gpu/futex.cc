#include "tests/emulated_gpu/futex.h"

#include <climits>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace leasehold::emulation {
namespace {

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, int64_t timeout_us) {
  timespec timeout{timeout_us / 1'000'000, timeout_us % 1'000'000 * 1000};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, timeout_us < 0 ? nullptr : &timeout,
          nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

}  // namespace

void FutexMutex::lock() {
  uint32_t free = 0;
  if (state_.compare_exchange_strong(free, 1, std::memory_order_acquire)) return;
  while (state_.exchange(2, std::memory_order_acquire) != 0) futex_wait(state_, 2, -1);
}

void FutexMutex::unlock() {
  if (state_.exchange(0, std::memory_order_release) == 2) futex_wake(state_, 1);
}

void FutexCondition::wait(FutexMutex& mutex, int64_t timeout_us) {
  const uint32_t seen = sequence_.load();
  mutex.unlock();
  futex_wait(sequence_, seen, timeout_us);
  mutex.lock();
}

void FutexCondition::notify_all() {
  sequence_.fetch_add(1);
  futex_wake(sequence_, INT_MAX);
}

}  // namespace leasehold::emulation
