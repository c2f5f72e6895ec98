// A few threads that run numbered tasks. The shape of the problem alone decides how work is cut
// into tasks, never the number of threads. So the number of threads does not change a bit of the
// result.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace leasehold {

class ThreadPool {
 public:
  // Starts num_threads - 1 threads: the caller is one of them. Workers spin for a few microseconds,
  // then sleep. Throws StatusError (kUnavailable) if the system starts no more threads.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Runs task(i, worker) for every i in [0, num_tasks), in any order and on any thread, and returns
  // when all are done. `worker` is in [0, num_threads), and no two tasks that run at once share it:
  // it selects per-thread scratch. Does not allocate. Tasks must not throw. Several threads may
  // call this at once: they take turns, so that `worker` stays unique. Not reentrant: a task must
  // not call run.
  template <typename Task>
  void run(int64_t num_tasks, Task&& task) {
    run_erased(
        num_tasks,
        [](void* context, int64_t i, int worker) {
          (*static_cast<std::remove_reference_t<Task>*>(context))(i, worker);
        },
        const_cast<void*>(static_cast<const void*>(&task)));
  }

 private:
  using TaskFunction = void (*)(void* context, int64_t task, int worker);
  void run_erased(int64_t num_tasks, TaskFunction function, void* context);

  struct State;
  int num_threads_;
  std::unique_ptr<State> state_;
};

}  // namespace leasehold
