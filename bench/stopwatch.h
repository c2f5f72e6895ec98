// When streams reach marked points.
#pragma once

#include <cstddef>
#include <memory>

#include "runtime/device/device.h"

namespace leasehold {

class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  // Enqueues a mark and returns its number, counted from 0. Throws StatusError.
  virtual size_t mark(Stream& stream) = 0;
  // From one mark to another, of any two streams of the device, which must have passed them.
  virtual double seconds_between(size_t from, size_t to) const = 0;
  // Forgets the marks, whose streams must have passed them.
  virtual void reset() = 0;
};

// On a CUDA device the marks are its events, which are read half a microsecond exact; on a CPU
// whose streams work inline, the host's clock.
std::unique_ptr<Stopwatch> create_stopwatch(Device& device);

// In a file of its own, for builds with CUDA and for those without, which have no such device.
std::unique_ptr<Stopwatch> create_cuda_stopwatch();

}  // namespace leasehold
