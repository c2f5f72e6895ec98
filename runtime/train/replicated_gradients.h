// Parameters that the tensor axis does not cut (norms, biases behind row-parallel products,
// positions): every tensor rank has seen only its rows, so their gradients are partial sums, which
// are gathered and added in the order of the axis.
#pragma once

#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/tensor/kernels.h"
#include "runtime/train/arenas.h"
#include "runtime/train/flat_layout.h"

namespace leasehold {

class ReplicatedGradients {
 public:
  // Of one part; `data_rank` says which shard this rank owns, `tensor` is the tensor axis.
  // References must outlive the object.
  ReplicatedGradients(const FlatLayout& layout, const ParameterTable& table, int data_rank,
                      Communicator& tensor, Kernels& kernels, Arenas& arenas);

  // In place on the reduced shard (num_shard_elements). Enqueued on `stream`; collective.
  void sum(Tensor reduced_shard, Stream& stream);

 private:
  Communicator& tensor_;
  Kernels& kernels_;
  std::vector<OwnedRange> ranges_;
  Tensor own_;  // the ranges, packed
  Tensor all_;  // of every tensor rank
};

}  // namespace leasehold
