// The CPU's streams and events, seen by what enqueues on them: CPU kernels and host-memory
// communicators.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "runtime/device/cpu_device.h"

namespace leasehold {

// Something that a stream or a host can wait for and that another thread completes: an event's
// record, a collective.
class Waitable {
 public:
  virtual ~Waitable() = default;
  // Waits until the thing with `ticket` is done; its failure, or kUnavailable past the deadline.
  virtual Status wait_for(uint64_t ticket, Deadline deadline) const = 0;
};

class CpuStream : public Stream {
 public:
  // Work is copied into the queue: at most this many bytes of captures, trivially copyable, so that
  // nothing allocates.
  static constexpr size_t kTaskBytes = 512;

  // Every Stream made by a CpuDevice is one. Checks.
  static CpuStream& from(Stream& stream);

  // Runs `task()` in order; task captures by value what it needs (Tensors are views) and may throw
  // StatusError, which fails the stream.
  template <typename Task>
  void enqueue(Task&& task) {
    enqueue_checked(task, false);
  }
  // Like enqueue, but runs also when the stream has failed: for what others wait for. The task asks
  // failure() itself.
  template <typename Task>
  void enqueue_always(Task&& task) {
    enqueue_checked(task, true);
  }

  // Later work waits until `waitable` completed `ticket`; its failure fails the stream. The stream
  // gives up after `limit_s`. `waitable` must outlive the wait.
  virtual void wait_for(const Waitable& waitable, uint64_t ticket, double limit_s) = 0;
  using Stream::wait;
  // The first failure, without waiting.
  virtual Status failure() const = 0;
  // True when enqueueing runs at once.
  virtual bool is_inline() const = 0;

 protected:
  virtual void enqueue_erased(const void* task, size_t size_bytes, void (*run)(void*),
                              bool always) = 0;

 private:
  template <typename Task>
  void enqueue_checked(Task& task, bool always) {
    using Stored = std::decay_t<Task>;
    static_assert(sizeof(Stored) <= kTaskBytes && std::is_trivially_copyable_v<Stored>,
                  "a task holds views and numbers, at most kTaskBytes of them");
    enqueue_erased(
        &task, sizeof(Stored), [](void* stored) { (*static_cast<Stored*>(stored))(); }, always);
  }
};

std::unique_ptr<Stream> create_inline_stream(const std::string& name, double wait_limit_s);
std::unique_ptr<Stream> create_asynchronous_stream(const std::string& name, uint64_t delay_seed,
                                                   double wait_limit_s);
std::unique_ptr<Event> create_cpu_event();

}  // namespace leasehold
