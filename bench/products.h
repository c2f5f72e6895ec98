// The floor of a training step: its matrix products alone.
#pragma once

#include <memory>
#include <vector>

#include "models/describe.h"
#include "runtime/tensor/arena.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

// The linear layers of one microbatch of N tokens, forward and both backwards, without biases and
// activations, on weights as large as the model's and activations that all share. The head's
// product is one, where the model cuts it to bound the memory of logits; its vocabulary is rounded
// up to a multiple of 64, as fast products want it, so that what an odd one costs shows in the
// share.
class Products {
 public:
  // Throws StatusError when memory does not suffice. References must outlive it.
  Products(const ModelConfig& model, int64_t N, Device& device, Kernels& kernels, Stream& stream);

  double flops() const;
  // Enqueued.
  void run();

 private:
  struct Product {
    int64_t K, O;
    Tensor weight{}, dweight{};
  };
  void allocate(Arena& arena);

  Kernels& kernels_;
  Stream& stream_;
  int64_t N_;
  std::vector<Product> shapes_;
  std::unique_ptr<Arena> arena_;
  Tensor x_, dx_, y_;  // as large as the largest wants them; forward and backward share y
};

}  // namespace leasehold
