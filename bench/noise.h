// Contents for what is measured: products of zeros take less power than those of a training step,
// and less time where power is the limit.
#pragma once

#include "runtime/tensor/arena.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

class Noise {
 public:
  // Blocks until it is on the device. Throws StatusError. Must outlive what it enqueues.
  Noise(Device& device, Kernels& kernels, Stream& stream);

  // Enqueued: numbers between -1 and 1, of dtype() or gradient_dtype(), with a period of 2^18.
  void fill(Tensor tensor);
  // The same, between 0 and 1, of gradient_dtype().
  void fill_positive(Tensor tensor);
  // i32: each below `limit`, as frequent as text_ids.h says. Blocks.
  void fill_ids(Tensor tensor, int64_t limit);

 private:
  void repeat(const Tensor& source, const Tensor& tensor);

  Stream& stream_;
  Arena arena_;
  Tensor working_;   // of dtype()
  Tensor exact_;     // of gradient_dtype()
  Tensor positive_;  // of gradient_dtype()
};

}  // namespace leasehold
