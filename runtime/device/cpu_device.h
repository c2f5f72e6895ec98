// The CPU as a Device. Two modes with the same results:
// inline: enqueueing runs the work at once on the calling thread (fast; nothing is deferred);
// asynchronous: every stream is a thread of its own that may dawdle by seeded delays, so that a
// missing event shows as a wrong result, as it would on a GPU.
#pragma once

#include <memory>

#include "runtime/base/thread_pool.h"
#include "runtime/device/device.h"

namespace leasehold {

struct CpuDeviceOptions {
  int num_threads = 1;  // threads that kernels share, the enqueueing one included
  bool asynchronous = false;
  uint64_t delay_seed = 0;    // asynchronous mode: 0 means no delays
  double wait_limit_s = 300;  // the longest that a stream waits for an event before it fails
};

class CpuDevice : public Device {
 public:
  static std::unique_ptr<CpuDevice> create(const CpuDeviceOptions& options);

  // The pool that kernels split their tasks over.
  virtual ThreadPool& thread_pool() = 0;
  virtual const CpuDeviceOptions& options() const = 0;
};

}  // namespace leasehold
