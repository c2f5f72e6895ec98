// How one unit's gradients of one round (a microbatch of every data rank) reach their owners while
// the next unit computes: two buffers that backward fills in turn, and at most two buckets on their
// way. Shared by all parts that a rank holds.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/tensor/kernels.h"
#include "runtime/train/arenas.h"
#include "runtime/train/gradients.h"
#include "runtime/train/streams.h"

namespace leasehold {

class GradientExchange {
 public:
  // Takes what has come of a bucket: parts[p] is rank p's gradient of the shard that this rank owns
  // (absent where rank p had no microbatch); for the fast reduction parts[0] is the sum. Enqueues
  // on the communication stream what uses them.
  using Taker = std::function<void(const Bucket&, int64_t round, const std::vector<Tensor>& parts)>;

  // unit_elements: of the largest unit's gradients; shard_elements: of the largest bucket's shard.
  GradientExchange(Communicator& group, Kernels& kernels, int64_t num_microbatches,
                   Reduction reduction, int64_t unit_elements, int64_t shard_elements,
                   const Streams& streams, Arenas& arenas);

  // Whether this rank's part of a round is a microbatch that exists: the last round may be partial.
  bool computes(int64_t round) const { return has_microbatch(round, group_.rank()); }
  // The buffer for the next unit's gradients; what is enqueued on compute from now on may write it.
  Tensor next_buffer();
  // Sends a bucket that lies in that buffer, (size * shard_elements), in the same order on every
  // rank. `taker` must live until flush.
  void send(const Bucket& bucket, Tensor gradients, int64_t round, const Taker& taker);
  // All of that buffer is sent.
  void end_buffer();
  // Completes what is under way.
  void flush();

 private:
  struct Transit {
    Work work;
    const Bucket* bucket = nullptr;  // null: none under way
    int64_t round = 0;
    size_t buffer = 0;
    const Taker* taker = nullptr;
    std::vector<Tensor> parts;
    Tensor received;  // (size - 1) shards, or one
  };

  void complete(Transit& transit);
  bool has_microbatch(int64_t round, int rank) const;

  Communicator& group_;
  int64_t num_microbatches_;
  Reduction reduction_;
  const Streams& streams_;
  std::array<Tensor, 2> buffers_;
  std::array<Transit, 2> transits_;
  size_t buffer_ = 0;
  size_t transit_ = 0;
  std::vector<Tensor> send_, receive_;
};

}  // namespace leasehold
