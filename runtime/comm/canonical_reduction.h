// Reduce-scatter over the data axis in one fixed tree, for any number of ranks. This is the heart
// of the promise "not one bit". Every rank sums its own lanes to whole nodes of the canonical tree
// ("roots"). The owner of each shard receives the other ranks' roots and finishes the tree. The
// tree is fixed; the exchange may vary.
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

// The way in which parts travel; the result is the same.
enum class Exchange {
  kAutomatic,  // kHalving from 8 ranks on if the lanes allow it, otherwise kDirect
  // One all_to_all: size - 1 messages a rank. Buffers: the other ranks' roots of this rank's shard.
  kDirect,
  // Recursive halving: log2(size) messages. Buffers: half a bucket, or a whole bucket above two
  // ranks. Only if size is a power of two and every rank's lanes are one node, all of the same
  // level.
  kHalving,
};

class CanonicalReduction {
 public:
  // Makes the reduction. Local. `group` is the data axis; `lanes[r]` are the lanes of its rank r,
  // of `num_lanes` in all. `arena` provides buffers for two buckets of at most `max_shard_elements`
  // elements per rank. With a measuring arena the object only counts. Elements are
  // kernels.gradient_dtype(). `group`, `kernels` and the memory must outlive the object.
  CanonicalReduction(Communicator& group, Kernels& kernels, const std::vector<LaneRange>& lanes,
                     int64_t num_lanes, int64_t max_shard_elements, Arena& arena,
                     Exchange exchange = Exchange::kAutomatic);
  ~CanonicalReduction();

  // Returns the nodes that this rank's roots stand for, left to right: cover() of its lanes.
  const std::vector<TreeNode>& own_roots() const;

  // Reduces a bucket. Collective, in the same order on every rank. roots[i] has (size * n)
  // elements, the bucket of own_roots()[i]. shard (n) receives this rank's part of the tree's root:
  // elements [rank * n, (rank + 1) * n).
  // Only enqueues: starts after what is enqueued on `stream`, which should be the communication
  // stream; the sums run on it too. At most two buckets are in flight. A third one finishes the
  // first; on an inline stream the host then waits for it while the second one's message travels.
  // Until its bucket is finished, by a third one or by flush, a root may be read and overwritten;
  // afterwards its content is unspecified. shard must not overlap roots, except that with one rank
  // it may be the root.
  void reduce(std::span<const Tensor> roots, Tensor shard, Stream& stream);
  // Enqueues the rest of every bucket under way. Work enqueued on `stream` afterwards sees all
  // shards.
  void flush(Stream& stream);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace leasehold
