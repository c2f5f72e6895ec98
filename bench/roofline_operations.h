// The operations of Kernels at a model's shapes, with what each costs at least.
#pragma once

#include <string>
#include <vector>

#include "bench/roofline_timer.h"
#include "models/describe.h"

namespace leasehold {

struct RooflineOperation {
  std::string name, shape;
  double flops = 0;  // of products; elementwise arithmetic is not counted
  double bytes = 0;  // that must be read and written at least once
  double calls = 0;  // in a step of one microbatch; 0: not in this model's step
  RooflineTimer::Make make;
};

// Of a step of `model` over one microbatch of B sequences, on one rank without dropout. The
// functions in the results refer to the kernels and the stream.
std::vector<RooflineOperation> step_operations(const ModelConfig& model, int64_t B,
                                               Kernels& kernels, Stream& stream);
// What the same model's step does not use: the other family's norm, mlp and positions, dropout, and
// what several ranks or lanes want.
std::vector<RooflineOperation> other_operations(const ModelConfig& model, int64_t B,
                                                Kernels& kernels, Stream& stream);

// Both ways of an attention of another shape.
std::vector<RooflineOperation> attention_operations(const AttentionShape& shape, Kernels& kernels,
                                                    Stream& stream);

// A copy of `bytes` bytes within the device.
RooflineOperation copy_operation(int64_t bytes, Stream& stream);
// A product of two square matrices.
RooflineOperation square_operation(int64_t size, Kernels& kernels, Stream& stream);

}  // namespace leasehold
