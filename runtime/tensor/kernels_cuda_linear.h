// The linears of CudaKernels: matrix products by cuBLASLt, which finishes them itself (bias, GELU,
// their gradients) where it can, and kernels of our own behind a product in fp32 where it cannot.
//
// Accumulation is in fp32, for fp32 inputs without TF32. Algorithms add nothing in an order that
// differs from run to run: no split-K into the output; a split whose parts are added from the
// workspace in order is allowed. They are chosen once per product (its form, extents, types,
// epilogue, and whether all operands are aligned to 16 bytes, which an arena's tensors are) and
// kept in a table that can be written down and read back. GELU is the tanh form, cuBLASLt's own.
#pragma once

#include <memory>
#include <string>

#include "runtime/device/device.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

class CudaLinear {
 public:
  // dtype: kF32 or kBf16. Allocates all that the calls will want.
  static Result<std::unique_ptr<CudaLinear>> create(Device& device, DType dtype);
  virtual ~CudaLinear() = default;

  // As Kernels says of the functions of these names, in shapes that were checked. Enqueue on a
  // stream of the device; on several streams they wait for each other, for they share scratch.
  virtual void forward(Stream& stream, const Tensor& x, const Tensor& weight, const Tensor& bias,
                       Activation activation, const Tensor& pre, const Tensor& y) = 0;
  virtual void backward_input(Stream& stream, const Tensor& dy, const Tensor& weight,
                              Activation activation, const Tensor& pre, const Tensor& dx,
                              Write write) = 0;
  virtual void backward_weight(Stream& stream, const Tensor& dy, const Tensor& x,
                               const Tensor& dweight, const Tensor& dbias, Write write) = 0;

  // "cuBLASLt 13.1.0": part of the arithmetic class.
  virtual std::string arithmetic_class() const = 0;
  // The algorithms chosen so far, as text, and those to use from now on. kBadConfig when the text
  // is of another version of cuBLASLt or another part, or names one that cannot run here: other
  // bits.
  virtual std::string algorithms() const = 0;
  virtual Status use_algorithms(const std::string& text) = 0;
  virtual int64_t num_choices() const = 0;  // made here so far
};

}  // namespace leasehold
