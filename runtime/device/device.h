// Where computation happens: a Device makes Streams, Events and Memory. The three are coarse on
// purpose (one call covers microseconds of work) and mean the same on CPU and CUDA, so that overlap
// is written once: work on one stream runs in the order in which it was enqueued; work on two
// streams is ordered by events alone; the host learns that work is done by `synchronize` or
// `Event::wait`, both with a deadline.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/base/clock.h"
#include "runtime/base/status.h"

namespace leasehold {

enum class DeviceKind { kCpu, kCuda };
const char* device_kind_name(DeviceKind kind);  // "cpu", "cuda"

// A point in a stream's work, recorded again and again without allocation. Thread-safe. Must
// outlive the work that records it or waits for it: make it before the streams.
class Event {
 public:
  virtual ~Event() = default;
  // True when the work before the newest `record` is done (also when nothing was recorded).
  virtual bool ready() const = 0;
  // Waits for the same on the host. kUnavailable past the deadline; the failure of the stream if it
  // failed.
  virtual Status wait(Deadline deadline) const = 0;
  // The seconds from the newest record of `earlier` to that of this event, as the streams passed
  // them. Never waits. kInternal when one of the two takes no times (create_timed_event) or was not
  // recorded, kUnavailable when one is not ready.
  virtual Result<double> seconds_since(const Event& earlier) const = 0;
};

// An ordered queue of work. One host thread enqueues at a time. After a failure (a lost peer, a
// device fault) a stream skips what follows, and `synchronize` returns the first failure: nothing
// hangs behind it.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual const std::string& name() const = 0;
  virtual void record(Event& event) = 0;
  // What is enqueued after this call runs after the work before `event`'s newest record.
  virtual void wait(const Event& event) = 0;
  // Copies within or between host and device memory. Host memory must stay valid until the copy
  // ran.
  virtual void copy(void* to, const void* from, int64_t size_bytes) = 0;
  virtual void fill_zero(void* to, int64_t size_bytes) = 0;
  virtual Status synchronize(Deadline deadline) = 0;
};

enum class MemoryKind {
  kDevice,  // what kernels compute on
  kPinned,  // host memory that the device copies to and from at full speed
};

// One allocation, zero-filled, aligned to 4096 bytes, freed with the object.
class Memory {
 public:
  virtual ~Memory() = default;
  virtual void* data() const = 0;
  virtual int64_t size_bytes() const = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceKind kind() const = 0;
  virtual const std::string& name() const = 0;  // "cpu (2 threads)", "cuda:0 NVIDIA GB300"
  virtual Result<std::unique_ptr<Stream>> create_stream(const std::string& name) = 0;
  virtual Result<std::unique_ptr<Event>> create_event() = 0;
  // One that also takes the time at which its stream passes it, which costs a little more.
  virtual Result<std::unique_ptr<Event>> create_timed_event() = 0;
  // kResourceExhausted, naming `purpose` and the size, when there is not enough memory.
  virtual Result<std::unique_ptr<Memory>> allocate(int64_t size_bytes, MemoryKind kind,
                                                   const std::string& purpose) = 0;
};

}  // namespace leasehold
