// Where tensor parallelism touches a model. Letters: t ranks of the tensor axis, N = B * T rows of
// a microbatch, C channels of the residual stream.
//
// Linears are cut in pairs (Shoeybi et al., arXiv:1909.08053): the first of a pair by its outputs,
// the second by its inputs, so that what lies between them (heads, the mlp's inside) is cut and
// needs no word with others. The residual stream is cut by rows (Korthikanti et al.,
// arXiv:2205.05198): rank r holds rows [r N/t, (r + 1) N/t), where norms, dropout and residual sums
// are computed. Before the first of a pair all rows are gathered, behind the second each rank has
// all rows of its part of a sum, which is summed and scattered. Either is the other's backward.
// Gathered rows are not kept for backward but gathered again: however many ranks share a block,
// each would keep 2 N C elements of it. models/describe_tensor.h counts what crosses the
// boundaries.
//
// Sums over ranks are exchanged as they are and added by Kernels::sum_parts in the order of the
// axis, so that the bits are the kernels' own. With one rank nothing is copied or called.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/module/module.h"

namespace leasehold {

// Of the `tensor` of a context.
inline int64_t num_tensor_ranks(const Communicator* tensor) {
  return tensor == nullptr ? 1 : tensor->size();
}
inline int64_t tensor_rank(const Communicator* tensor) {
  return tensor == nullptr ? 0 : tensor->rank();
}

// Rows of the residual stream that a rank holds, N / t. Throws kBadConfig, with values that would
// work, if t does not divide N.
int64_t shard_rows(const PrepareContext& context);

// Where a shard (N / t, C) begins in (N, C), in elements: what dropout is addressed by.
inline int64_t first_element(const StepContext& context, const Tensor& shard) {
  return tensor_rank(context.tensor) * shard.num_elements();
}

// The part of the vocabulary whose rows of a table are here.
inline VocabularyShard vocabulary_shard(const StepContext& context) {
  return {tensor_rank(context.tensor), num_tensor_ranks(context.tensor)};
}

// A pair's boundaries on both sides, with the memory they need between them: one crossing is under
// way at a time. Everything is enqueued on the context's stream.
class Boundary {
 public:
  Boundary() = default;
  // Takes scratch for rows of C channels, none with one rank.
  Boundary(const PrepareContext& context, int64_t C);

  // (N, C): all ranks' shards (N / t, C). Valid until the next call of gather or partial; may be
  // written. One rank: `shard` itself.
  Tensor gather(StepContext& context, Tensor shard) const;
  // (N, C): where this rank's part of a sum belongs whose rows go to `shard`, or will with
  // sum_scatter. What gather gave may be there, and is overwritten. One rank: `shard` itself.
  Tensor partial(Tensor shard) const { return whole_.present() ? whole_ : shard; }
  // shard (N / t, C) = this rank's rows of the sum over ranks of what lies in partial(shard).
  void sum_scatter(StepContext& context, Tensor shard) const;

 private:
  Tensor whole_;                  // (N, C)
  Tensor parts_;                  // (t, N / t, C): each rank's part of the rows here
  std::vector<Tensor> sends_;     // by rank, (N / t, C): its rows of whole_
  std::vector<Tensor> receives_;  // by rank, (N / t, C): its place in parts_
};

}  // namespace leasehold
