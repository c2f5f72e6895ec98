#include "runtime/base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace leasehold {
namespace {

TEST(ThreadPool, CountsItsThreads) {
  EXPECT_EQ(ThreadPool(3).num_threads(), 3);
  EXPECT_EQ(ThreadPool(0).num_threads(), 1);
}

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (const int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      pool.run(tasks, [&](int64_t i, int) { ++runs[static_cast<size_t>(i)]; });
      for (const auto& count : runs)
        ASSERT_EQ(count, 1) << threads << " threads, " << tasks << " tasks";
    }
  }
}

TEST(ThreadPool, UsesAllItsThreads) {
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  std::atomic<int> arrived{0};
  // Each task waits for all the others: it ends only when as many threads run at once.
  pool.run(kThreads, [&](int64_t, int) {
    ++arrived;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (arrived < kThreads && std::chrono::steady_clock::now() < give_up)
      std::this_thread::yield();
  });
  EXPECT_EQ(arrived, kThreads);
}

TEST(ThreadPool, NoTwoTasksAtOnceShareAWorker) {
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  std::vector<std::atomic<int>> inside(kThreads);
  std::atomic<bool> shared{false};
  std::atomic<bool> out_of_range{false};
  for (int repeat = 0; repeat < 50; ++repeat) {
    pool.run(64, [&](int64_t, int worker) {
      if (worker < 0 || worker >= kThreads) {
        out_of_range = true;
        return;
      }
      auto& count = inside[static_cast<size_t>(worker)];
      if (++count != 1) shared = true;
      for (int spin = 0; spin < 200; ++spin) std::atomic_signal_fence(std::memory_order_seq_cst);
      --count;
    });
  }
  EXPECT_FALSE(shared);
  EXPECT_FALSE(out_of_range);
}

// What tasks wrote is visible after run, without atomics (tsan checks the rest).
TEST(ThreadPool, ManyJobsInARowAreNeitherLostNorRepeated) {
  for (const int threads : {3, 8}) {
    ThreadPool pool(threads);
    constexpr int64_t kJobs = 20000;
    // A job of few tasks and one of many in turn: a worker that is late for the first must not run
    // tasks of the second twice.
    const auto num_tasks = [](int64_t job) { return job % 2 == 0 ? 2 : 3 + job % 30; };
    std::vector<int64_t> sums(32);
    for (int64_t job = 1; job <= kJobs; ++job)
      pool.run(num_tasks(job), [&](int64_t i, int) { sums[static_cast<size_t>(i)] += job; });
    std::vector<int64_t> expected(sums.size());
    for (int64_t job = 1; job <= kJobs; ++job) {
      for (int64_t i = 0; i < num_tasks(job); ++i) expected[static_cast<size_t>(i)] += job;
    }
    EXPECT_EQ(sums, expected) << threads << " threads";
  }
}

// Between jobs the workers fall asleep; a job must wake them and not depend on it.
TEST(ThreadPool, WakesSleepingWorkers) {
  ThreadPool pool(3);
  std::atomic<int> runs{0};
  for (int job = 0; job < 20; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    pool.run(3, [&](int64_t, int) { ++runs; });
  }
  EXPECT_EQ(runs, 60);
}

TEST(ThreadPool, SeveralCallersTakeTurns) {
  ThreadPool pool(3);
  constexpr int kCallers = 4;
  constexpr int kJobs = 500;
  std::atomic<bool> overlap{false};
  std::vector<int64_t> sums(kCallers);
  std::vector<std::thread> callers;
  std::vector<std::atomic<int>> inside(3);
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      std::vector<int64_t> out(8);
      for (int job = 0; job < kJobs; ++job) {
        pool.run(8, [&](int64_t i, int worker) {
          if (++inside[static_cast<size_t>(worker)] != 1) overlap = true;
          out[static_cast<size_t>(i)] += i + caller;
          --inside[static_cast<size_t>(worker)];
        });
      }
      for (const int64_t value : out) sums[static_cast<size_t>(caller)] += value;
    });
  }
  for (auto& thread : callers) thread.join();
  EXPECT_FALSE(overlap);
  for (int caller = 0; caller < kCallers; ++caller) {
    EXPECT_EQ(sums[static_cast<size_t>(caller)], kJobs * (28 + 8 * caller));
  }
}

TEST(ThreadPool, EndsWhileItsWorkersSleepOrSpin) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    ThreadPool pool(4);
    if (repeat % 2 == 0) pool.run(4, [](int64_t, int) {});
  }
}

}  // namespace
}  // namespace leasehold
