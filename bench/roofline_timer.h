// Times an operation on a stream, as the device sees it: many calls behind each other between two
// marks, and other memory for each call, so that no cache holds what a call reads.
#pragma once

#include <functional>

#include "bench/noise.h"
#include "bench/stopwatch.h"
#include "runtime/tensor/arena.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

struct TimerOptions {
  double seconds = 0.2;                       // for one operation; 0: one call each time
  int64_t rotate_bytes = int64_t{512} << 20;  // all sets of buffers together, at least
};

struct Timing {
  double seconds = 0;       // of a call: median over kBatches batches or more
  double host_seconds = 0;  // of a call's enqueueing, on the host: the median of as many
  int64_t calls = 0;        // of a batch
  int64_t sets = 0;         // of buffers that calls take in turn
};

class RooflineTimer {
 public:
  static constexpr size_t kBatches = 5;

  // Takes its buffers from the arena, gives them contents and returns what enqueues the operation.
  // Called with a measuring arena first, whose tensors have no memory: `noise` is null then.
  using Make = std::function<std::function<void()>(Arena& arena, Noise* noise)>;

  // References must outlive it. Throws StatusError.
  RooflineTimer(Device& device, Kernels& kernels, Stream& stream, const TimerOptions& options)
      : device_(device),
        stream_(stream),
        options_(options),
        noise_(device, kernels, stream),
        stopwatch_(create_stopwatch(device)) {}

  Timing time(const Make& make);

 private:
  static constexpr int kMostSets = 64;
  // Behind each other: fewer than a stream takes before it makes the host wait (CudaStream), so
  // that the device is not left without work.
  static constexpr int64_t kMostCalls = 128;
  // Of those whose enqueueing is timed.
  static constexpr int64_t kHostCalls = 32;

  // Of `calls` calls on the device, and of their enqueueing.
  double run(const std::vector<std::function<void()>>& sets, int64_t calls, double* host_s);
  void wait();

  Device& device_;
  Stream& stream_;
  TimerOptions options_;
  Noise noise_;
  std::unique_ptr<Stopwatch> stopwatch_;
  size_t next_set_ = 0;
};

}  // namespace leasehold
