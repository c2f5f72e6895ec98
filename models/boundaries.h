// Tensor parallelism in a model: the boundaries between rows that are cut and rows that are whole.
// Letters: t ranks of the tensor axis, N = B * T rows of a microbatch, C channels of the residual
// stream.
//
// Linears are cut in pairs (Shoeybi et al., arXiv:1909.08053): the first of a pair by its outputs,
// the second by its inputs. So everything between them (heads, the inside of the mlp) is cut and
// needs no communication. The residual stream is cut by rows (Korthikanti et al.,
// arXiv:2205.05198): rank r holds rows [r N/t, (r + 1) N/t) and computes norms, dropout and
// residual sums on them. Before the first of a pair all rows are gathered. After the second each
// rank has its part of a sum for all rows, which is summed and scattered. Each operation is the
// other's backward. Gathered rows are not kept for backward but gathered again: otherwise each rank
// would keep 2 N C elements of a block, however many ranks share it. models/describe_tensor.h
// counts the elements that cross the boundaries.
//
// The exchange moves the parts of a sum unchanged, and Kernels::sum_parts adds them in the order of
// the axis, so that the bits are the kernels' own. With one rank nothing is copied or called.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/module/module.h"

namespace leasehold {

// Return the size of a context's `tensor` group and this rank's place in it; 1 and 0 without a
// group.
inline int64_t num_tensor_ranks(const Communicator* tensor) {
  return tensor == nullptr ? 1 : tensor->size();
}
inline int64_t tensor_rank(const Communicator* tensor) {
  return tensor == nullptr ? 0 : tensor->rank();
}

// Returns the rows of the residual stream that a rank holds, N / t. Throws kBadConfig, with values
// that would work, if t does not divide N.
int64_t shard_rows(const PrepareContext& context);

// Returns the element of (N, C) at which a shard (N / t, C) begins. Dropout is addressed by it.
inline int64_t first_element(const StepContext& context, const Tensor& shard) {
  return tensor_rank(context.tensor) * shard.num_elements();
}

// Returns this rank's part of the vocabulary: the rows of a table that it holds.
inline VocabularyShard vocabulary_shard(const StepContext& context) {
  return {tensor_rank(context.tensor), num_tensor_ranks(context.tensor)};
}

// A Boundary holds both boundaries of a pair with the memory that they need; one crossing is under
// way at a time. Everything is enqueued on the context's stream.
class Boundary {
 public:
  Boundary() = default;
  // Takes scratch for rows of C channels; none with one rank.
  Boundary(const PrepareContext& context, int64_t C);

  // Returns all ranks' shards (N / t, C) as (N, C). The result may be written, and is valid until
  // the next call of gather or partial. With one rank it is `shard` itself.
  Tensor gather(StepContext& context, Tensor shard) const;
  // Returns the (N, C) buffer for this rank's part of a sum; sum_scatter() later reduces it into
  // `shard`. It shares memory with the result of gather(), which it overwrites. With one rank it is
  // `shard` itself.
  Tensor partial(Tensor shard) const { return whole_.present() ? whole_ : shard; }
  // Sets shard (N / t, C) to this rank's rows of the sum over ranks of partial(shard).
  void sum_scatter(StepContext& context, Tensor shard) const;

 private:
  Tensor whole_;                  // (N, C)
  Tensor parts_;                  // (t, N / t, C): each rank's part of the rows of this rank
  std::vector<Tensor> sends_;     // by rank, (N / t, C): its rows of whole_
  std::vector<Tensor> receives_;  // by rank, (N / t, C): its place in parts_
};

}  // namespace leasehold
