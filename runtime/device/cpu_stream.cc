// Both kinds of CPU stream. The asynchronous one is a thread and a bounded ring of tasks;
// enqueueing on a full ring waits for room, so that nothing allocates.
#include "runtime/device/cpu_stream.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/base/random.h"
#include "runtime/device/cpu_event.h"

namespace leasehold {

namespace {

// What both kinds share: the operations, told as tasks, and the first failure.
class CpuStreamBase : public CpuStream {
 public:
  CpuStreamBase(std::string name, double wait_limit_s)
      : name_(std::move(name)), wait_limit_s_(wait_limit_s) {}

  const std::string& name() const override { return name_; }

  void record(Event& event) override {
    CpuEvent* target = &CpuEvent::from(event);
    const uint64_t ticket = target->announce();
    enqueue_always([this, target, ticket] { target->reach(ticket, failure()); });
  }

  void wait(const Event& event) override {
    const CpuEvent& source = CpuEvent::from(event);
    wait_for(source, source.newest(), wait_limit_s_);
  }

  void wait_for(const Waitable& waitable, uint64_t ticket, double limit_s) override {
    const Waitable* source = &waitable;
    enqueue([source, ticket, limit_s] {
      throw_if_error(source->wait_for(ticket, Deadline::after_s(limit_s)));
    });
  }

  void copy(void* to, const void* from, int64_t size_bytes) override {
    enqueue([to, from, size_bytes] {
      if (size_bytes > 0) std::memmove(to, from, static_cast<size_t>(size_bytes));
    });
  }

  void fill_zero(void* to, int64_t size_bytes) override {
    enqueue([to, size_bytes] {
      if (size_bytes > 0) std::memset(to, 0, static_cast<size_t>(size_bytes));
    });
  }

  Status failure() const override {
    std::lock_guard lock(failure_mutex_);
    return failure_;
  }

 protected:
  // Runs a task unless the stream failed; records (`always`) are reached in any case, or waiters
  // would hang.
  void run_guarded(void (*run)(void*), void* task, bool always) {
    if (!always && !failure().ok()) return;
    try {
      run(task);
    } catch (const StatusError& caught) {
      fail(caught.status());
    } catch (const std::exception& caught) {
      fail(error(Code::kInternal, "stream {}: {}", name_, caught.what()));
    }
  }

  void fail(const Status& status) {
    std::lock_guard lock(failure_mutex_);
    if (failure_.ok()) failure_ = status;
  }

 private:
  std::string name_;
  double wait_limit_s_;
  mutable std::mutex failure_mutex_;
  Status failure_;
};

class InlineStream : public CpuStreamBase {
 public:
  using CpuStreamBase::CpuStreamBase;
  Status synchronize(Deadline) override { return failure(); }
  bool is_inline() const override { return true; }

 protected:
  void enqueue_erased(const void* task, size_t, void (*run)(void*), bool always) override {
    run_guarded(run, const_cast<void*>(task), always);
  }
};

class AsynchronousStream : public CpuStreamBase {
 public:
  AsynchronousStream(const std::string& name, uint64_t delay_seed, double wait_limit_s)
      : CpuStreamBase(name, wait_limit_s),
        ring_(kRingTasks),
        delays_(RandomSite::make(delay_seed, name)),
        dawdles_(delay_seed != 0),
        thread_([this] { main(); }) {}

  // Runs what is enqueued, then ends. Waits inside tasks have limits, so this does too.
  ~AsynchronousStream() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Status synchronize(Deadline deadline) override {
    std::unique_lock lock(mutex_);
    const uint64_t all = pushed_;
    if (!changed_.wait_until(lock, deadline.time_point(), [&] { return done_ >= all; })) {
      return error(Code::kUnavailable, "stream {} did not finish its work in time", name());
    }
    lock.unlock();
    return failure();
  }
  bool is_inline() const override { return false; }

 protected:
  void enqueue_erased(const void* task, size_t size_bytes, void (*run)(void*),
                      bool always) override {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] {
        return pushed_ - done_ < kRingTasks;
      });  // tasks are bounded in time, so this is
      Slot& slot = ring_[pushed_ % kRingTasks];
      std::memcpy(slot.task, task, size_bytes);
      slot.run = run;
      slot.always = always;
      ++pushed_;
    }
    changed_.notify_all();
  }

 private:
  static constexpr uint64_t kRingTasks = 1024;
  struct Slot {
    alignas(std::max_align_t) unsigned char task[kTaskBytes];
    void (*run)(void*) = nullptr;
    bool always = false;
  };

  void main() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stop_ || done_ < pushed_; });
      if (done_ == pushed_) return;
      Slot& slot = ring_[done_ % kRingTasks];
      lock.unlock();
      dawdle();
      run_guarded(slot.run, slot.task, slot.always);
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }

  // One task in four is late by up to 200 us.
  void dawdle() {
    if (!dawdles_) return;
    const uint32_t draw = delays_.word(num_delays_++);
    if (draw % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(draw / 4 % 200));
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Slot> ring_;
  uint64_t pushed_ = 0;
  uint64_t done_ = 0;
  bool stop_ = false;
  RandomSite delays_;
  bool dawdles_;
  uint64_t num_delays_ = 0;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

CpuStream& CpuStream::from(Stream& stream) {
  auto* cpu_stream = dynamic_cast<CpuStream*>(&stream);
  LEASEHOLD_CHECK(cpu_stream != nullptr, "stream {} is no CPU stream", stream.name());
  return *cpu_stream;
}

std::unique_ptr<Stream> create_inline_stream(const std::string& name, double wait_limit_s) {
  return std::make_unique<InlineStream>(name, wait_limit_s);
}

std::unique_ptr<Stream> create_asynchronous_stream(const std::string& name, uint64_t delay_seed,
                                                   double wait_limit_s) {
  return std::make_unique<AsynchronousStream>(name, delay_seed, wait_limit_s);
}

}  // namespace leasehold
