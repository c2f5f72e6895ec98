#include "runtime/base/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime/base/pause.h"
#include "runtime/base/status.h"

namespace leasehold {

namespace {

constexpr int kSpins = 2000;

}  // namespace

// A job is opened, worked on and closed. Workers take task numbers from `next`. `entry` counts the
// workers inside the job; its highest bit says that the job is open. So entering and closing have
// an order: the caller closes the job, waits until nobody is inside, and only then writes the next
// one. Otherwise a worker that entered unseen would take the next job's task numbers for this
// job's.
struct ThreadPool::State {
  static constexpr uint32_t kOpen = 1U << 31;

  std::mutex caller;  // one job at a time
  std::mutex mutex;
  std::condition_variable wake;
  // Number of jobs so far; raised under mutex, for workers that sleep.
  std::atomic<uint64_t> epoch{0};
  std::atomic<uint32_t> entry{0};
  std::atomic<int64_t> next{0};
  // Written while the job is closed and nobody is inside.
  int64_t num_tasks = 0;
  TaskFunction function = nullptr;
  void* context = nullptr;
  bool stop = false;  // guarded by mutex
  std::vector<std::thread> threads;

  void end() {
    {
      std::lock_guard lock(mutex);
      stop = true;
    }
    wake.notify_all();
    for (auto& thread : threads) thread.join();
    threads.clear();
  }

  void work(int worker) {
    for (int64_t i = next.fetch_add(1, std::memory_order_acq_rel); i < num_tasks;
         i = next.fetch_add(1, std::memory_order_acq_rel)) {
      function(context, i, worker);
    }
  }

  void worker_main(int worker) {
    uint64_t seen = 0;
    while (true) {
      uint64_t now = seen;
      for (int spin = 0; spin < kSpins && now == seen; ++spin) {
        pause_cpu();
        now = epoch.load(std::memory_order_acquire);
      }
      if (now == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stop || epoch.load(std::memory_order_relaxed) != seen; });
        if (stop) return;
        now = epoch.load(std::memory_order_relaxed);
      }
      seen = now;
      // A worker that enters too late counts for a moment, but touches nothing.
      if ((entry.fetch_add(1, std::memory_order_acq_rel) & kOpen) != 0) work(worker);
      entry.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads < 1 ? 1 : num_threads), state_(new State) {
  try {
    for (int worker = 1; worker < num_threads_; ++worker) {
      state_->threads.emplace_back([state = state_.get(), worker] { state->worker_main(worker); });
    }
  } catch (const std::system_error& problem) {
    const size_t started = state_->threads.size() + 1;
    state_->end();
    throw StatusError(error(Code::kUnavailable,
                            "{} threads were asked for, and after {} the system starts no more "
                            "({}); ask for fewer, or raise the limit (ulimit -u)",
                            num_threads_, started, problem.code().message()));
  }
}

ThreadPool::~ThreadPool() { state_->end(); }

void ThreadPool::run_erased(int64_t num_tasks, TaskFunction function, void* context) {
  std::lock_guard one_job(state_->caller);
  if (num_threads_ == 1 || num_tasks <= 1) {
    for (int64_t i = 0; i < num_tasks; ++i) function(context, i, 0);
    return;
  }
  State& state = *state_;
  state.function = function;
  state.context = context;
  state.num_tasks = num_tasks;
  state.next.store(0, std::memory_order_relaxed);
  state.entry.fetch_or(State::kOpen, std::memory_order_release);
  {
    std::lock_guard lock(state.mutex);
    state.epoch.fetch_add(1, std::memory_order_release);
  }
  state.wake.notify_all();
  state.work(0);
  state.entry.fetch_and(~State::kOpen, std::memory_order_acq_rel);
  // Tasks are short and only the last of them still run: spin, then yield.
  for (int spin = 0; state.entry.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < kSpins) {
      pause_cpu();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace leasehold
