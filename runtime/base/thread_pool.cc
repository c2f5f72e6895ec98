#include "runtime/base/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace leasehold {

namespace {

constexpr int kSpins = 2000;

void pause_cpu() { __builtin_ia32_pause(); }

}  // namespace

// A job is published under `mutex` by raising `epoch`. Workers take task numbers from `next` and
// count themselves out in `active`; the caller returns once all tasks are taken and no worker is
// active.
struct ThreadPool::State {
  std::mutex caller;  // one job at a time
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<uint64_t> epoch{0};
  std::atomic<int64_t> next{0};
  std::atomic<int> active{0};
  int64_t num_tasks = 0;
  TaskFunction function = nullptr;
  void* context = nullptr;
  bool stop = false;
  std::vector<std::thread> threads;

  void work(int worker) {
    for (int64_t i = next.fetch_add(1, std::memory_order_acq_rel); i < num_tasks;
         i = next.fetch_add(1, std::memory_order_acq_rel)) {
      function(context, i, worker);
    }
  }

  void worker_main(int worker) {
    uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < kSpins && epoch.load(std::memory_order_acquire) == seen; ++spin)
        pause_cpu();
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stop || epoch.load(std::memory_order_relaxed) != seen; });
        if (stop) return;
        seen = epoch.load(std::memory_order_relaxed);
        if (next.load(std::memory_order_relaxed) >= num_tasks)
          continue;  // came too late for this job
        active.fetch_add(1, std::memory_order_relaxed);
      }
      work(worker);
      active.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads < 1 ? 1 : num_threads), state_(new State) {
  for (int worker = 1; worker < num_threads_; ++worker) {
    state_->threads.emplace_back([state = state_.get(), worker] { state->worker_main(worker); });
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (auto& thread : state_->threads) thread.join();
}

void ThreadPool::run_erased(int64_t num_tasks, TaskFunction function, void* context) {
  std::lock_guard one_job(state_->caller);
  if (num_threads_ == 1 || num_tasks <= 1) {
    for (int64_t i = 0; i < num_tasks; ++i) function(context, i, 0);
    return;
  }
  {
    std::lock_guard lock(state_->mutex);
    state_->function = function;
    state_->context = context;
    state_->num_tasks = num_tasks;
    state_->next.store(0, std::memory_order_relaxed);
    state_->epoch.fetch_add(1, std::memory_order_release);
  }
  state_->wake.notify_all();
  state_->work(0);
  // Tasks are short and the workers busy with the last of them: spin, then yield.
  for (int spin = 0; state_->active.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < kSpins) {
      pause_cpu();
    } else {
      std::this_thread::yield();
    }
  }
  // A worker that wakes late must not enter the finished job.
  std::lock_guard lock(state_->mutex);
  state_->num_tasks = 0;
}

}  // namespace leasehold
