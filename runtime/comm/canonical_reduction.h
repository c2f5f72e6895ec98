// Reduce-scatter over the data axis with one fixed tree, whatever the number of ranks: the heart of "not one bit".
// Every rank holds its own lanes summed up to whole nodes of the canonical tree ("roots"); the owner of each shard
// receives the others' roots and finishes the tree. Only the tree is fixed, never the exchange: recursive halving
// where ranks and their runs of lanes are aligned powers of two, else all_to_all.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/comm/lanes.h"
#include "runtime/comm/tree.h"
#include "runtime/tensor/arena.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

class CanonicalReduction {
 public:
  // `group` is the data axis; `lanes[r]` the lanes of its rank r, of `num_lanes` in all. Buffers for two buckets of at
  // most `max_shard_elements` elements per rank come from `arena` (measuring or real). Elements are kernels.dtype().
  CanonicalReduction(Communicator& group, Kernels& kernels, std::vector<LaneRange> lanes, int64_t num_lanes,
                     int64_t max_shard_elements, Arena& arena);
  ~CanonicalReduction();

  // The nodes that this rank's roots stand for, left to right: cover() of its lanes.
  const std::vector<TreeNode>& own_roots() const;

  // Collective, in the same order on every rank. roots[i] is (size * n) elements, the bucket of own_roots()[i]; shard
  // (n) receives this rank's part of the tree's root: elements [rank * n, (rank + 1) * n). Enqueue-only: starts after
  // what is enqueued on `stream`, which should be the communication stream; the sums run on it too. The roots may be
  // overwritten on the way and hold nothing of use afterwards; shard must not overlap them, except that with one rank
  // and one root it may be that root. At most two buckets are in flight; a third waits for the first.
  void reduce(std::span<const Tensor> roots, Tensor shard, Stream& stream);
  // Enqueues what remains of every bucket under way. After it, work on `stream` sees all shards.
  void flush(Stream& stream);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace leasehold
