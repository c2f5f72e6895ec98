// Reduce-scatter over the data axis with one fixed tree, whatever the number of ranks: the heart of
// "not one bit". Every rank holds its own lanes summed up to whole nodes of the canonical tree
// ("roots"); the owner of each shard receives the others' roots and finishes the tree. Only the
// tree is fixed, never the exchange.
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

// How the parts travel; the result is the same.
enum class Exchange {
  kAutomatic,  // kHalving from 8 ranks on where the lanes allow it, else kDirect
  kDirect,   // one all_to_all: size - 1 messages a rank; buffers: the others' roots of this rank's
             // shard
  kHalving,  // recursive halving: log2(size) messages; buffers: half a bucket, or a whole one above
             // two ranks. Only where size is a power of two and every rank's lanes are one node,
             // all of one level
};

class CanonicalReduction {
 public:
  // Local. `group` is the data axis; `lanes[r]` the lanes of its rank r, of `num_lanes` in all.
  // Buffers for two buckets of at most `max_shard_elements` elements per rank come from `arena`
  // (measuring or real; made with a measuring one, the object only counts). Elements are
  // kernels.gradient_dtype(). `group`, `kernels` and the memory must outlive the object.
  CanonicalReduction(Communicator& group, Kernels& kernels, const std::vector<LaneRange>& lanes,
                     int64_t num_lanes, int64_t max_shard_elements, Arena& arena,
                     Exchange exchange = Exchange::kAutomatic);
  ~CanonicalReduction();

  // The nodes that this rank's roots stand for, left to right: cover() of its lanes.
  const std::vector<TreeNode>& own_roots() const;

  // Collective, in the same order on every rank. roots[i] is (size * n) elements, the bucket of
  // own_roots()[i]; shard (n) receives this rank's part of the tree's root: elements [rank * n,
  // (rank + 1) * n). Enqueue-only: starts after what is enqueued on `stream`, which should be the
  // communication stream; the sums run on it too. At most two buckets are in flight; a third
  // finishes the first (on an inline stream the host waits for it then, while the second one's
  // message travels). Until its bucket is finished, by that or by flush, a root may be read and
  // overwritten; it holds nothing of use afterwards. shard must not overlap roots, except that with
  // one rank it may be the root.
  void reduce(std::span<const Tensor> roots, Tensor shard, Stream& stream);
  // Enqueues what remains of every bucket under way. After it, work on `stream` sees all shards.
  void flush(Stream& stream);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace leasehold
