// Cuts an operation into messages between pairs of ranks. Pure: there is no MPI here. An operation
// runs as a few pipelines in parallel. A pipeline is a sequence of rounds. A round sends at most
// one message and receives at most one; when both are done, it copies or combines on the host.
// Between two ranks, the messages of one pipeline match in order.
//
// Algorithms: ring reduce-scatter and all-gather over pipelined segments (Patarasuk and Yuan,
// "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009); recursive doubling
// for short reductions (Thakur, Rabenseifner and Gropp, "Optimization of collective communication
// operations in MPICH", 2005); dissemination for short all-gathers (Bruck et al., 1997, with the
// blocks in place); binomial trees for broadcasts; pairwise exchange for all_to_all. All ranks get
// the same bits from an all_reduce.
#pragma once

#include <cstdint>
#include <span>

#include "collectives/operation.h"

namespace leasehold {

inline constexpr int kMaxPipelines = 8;

struct RoundLimits {
  // The longest message of a ring or a broadcast; a multiple of 8. It is long enough that a message
  // costs far more than its handshake, and short enough that the received data is still in the
  // cache when it is added.
  int64_t segment_bytes = int64_t{1} << 20;
  // The longest message of all_to_all, send and receive; MPI counts are int.
  int64_t message_bytes = int64_t{1} << 30;
  int num_pipelines = 2;  // at most kMaxPipelines; while one adds, another's messages travel
};

// One rank's part in an operation. For all_reduce and broadcast, input == output == data. The group
// has at least two ranks.
struct RoundsCall {
  OperationSummary summary;
  int rank = 0;
  int size = 1;
  Tensor input, output;
  std::span<const Tensor> sends, receives;  // all_to_all
};

// The plan from which rounds are made. It keeps the spans of the call.
struct RoundsPlan {
  enum class Algorithm {
    kRingAllReduce,
    kRingReduceScatter,
    kRingAllGather,
    kDoublingAllReduce,
    kDoublingReduceScatter,
    kDisseminationAllGather,
    kBinomialBroadcast,
    kPairwiseAllToAll,
    kMessage,
  };
  RoundsCall call;
  RoundLimits limits;
  Algorithm algorithm = Algorithm::kMessage;
  int64_t element_bytes = 1;
  int64_t segment_elements = 0;
  int64_t num_segments = 0;
  // 0: nothing to do. For a message: its pieces, which are all posted at once, in order.
  int num_pipelines = 0;
  int64_t scratch_bytes = 0;  // per pipeline
};
RoundsPlan plan_rounds(const RoundsCall& call, const RoundLimits& limits);

struct Round {
  enum class Then { kNothing, kCopy, kCombine };
  int send_to = -1;  // -1: sends nothing
  const char* send = nullptr;
  int64_t send_bytes = 0;
  int receive_from = -1;
  char* receive = nullptr;
  int64_t receive_bytes = 0;
  Then then = Then::kNothing;  // out = left, or left op right, over `elements`; out may be either
  char* out = nullptr;
  const char* left = nullptr;
  const char* right = nullptr;
  int64_t elements = 0;
};

struct RoundCursor {
  int64_t segment = 0;
  int64_t step = 0;
  static RoundCursor at_begin(const RoundsPlan&, int pipeline) { return {.segment = pipeline}; }
};

// Makes the next round of a pipeline; false at its end. `scratch` is the pipeline's own
// plan.scratch_bytes. A round may be empty.
bool next_round(const RoundsPlan& plan, char* scratch, RoundCursor& cursor, Round* round);

}  // namespace leasehold
