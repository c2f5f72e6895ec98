#include "collectives/rounds.h"

#include <algorithm>
#include <bit>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

using Algorithm = RoundsPlan::Algorithm;

// Sizes, of each rank's part of the data, below which latency outweighs bandwidth. A smaller
// all_reduce goes whole through log2(size) exchanges instead of in size parts round the ring;
// likewise a smaller all_gather.
constexpr int64_t kDoublingPartBytes = int64_t{16} << 10;
constexpr int64_t kDisseminationPartBytes = int64_t{4} << 10;

struct Extent {
  int64_t begin = 0;
  int64_t count = 0;
};

int modulo(int64_t value, int size) { return static_cast<int>(((value % size) + size) % size); }
int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

char* at(const RoundsPlan& plan, const Tensor& tensor, int64_t element) {
  return static_cast<char*>(tensor.data()) + element * plan.element_bytes;
}

// Returns part `part` of n elements in `size` nearly equal parts.
Extent part_of(int64_t n, int size, int part) {
  const int64_t begin = n * part / size;
  return {begin, n * (part + 1) / size - begin};
}

// Returns segment `segment` of a part; empty after its end.
Extent segment_of(const RoundsPlan& plan, Extent part, int64_t segment) {
  const int64_t offset = std::min(segment * plan.segment_elements, part.count);
  return {part.begin + offset, std::min(plan.segment_elements, part.count - offset)};
}

void set_send(const RoundsPlan& plan, Round* round, int to, const char* from, int64_t elements) {
  if (elements == 0) return;
  round->send_to = to;
  round->send = from;
  round->send_bytes = elements * plan.element_bytes;
}

void set_receive(const RoundsPlan& plan, Round* round, int from, char* to, int64_t elements) {
  if (elements == 0) return;
  round->receive_from = from;
  round->receive = to;
  round->receive_bytes = elements * plan.element_bytes;
}

void set_combine(Round* round, char* out, const char* left, const char* right, int64_t elements) {
  round->then = elements == 0 ? Round::Then::kNothing : Round::Then::kCombine;
  round->out = out;
  round->left = left;
  round->right = right;
  round->elements = elements;
}

void set_copy(Round* round, char* out, const char* from, int64_t elements) {
  round->then = elements == 0 || out == from ? Round::Then::kNothing : Round::Then::kCopy;
  round->out = out;
  round->left = from;
  round->elements = elements;
}

// Advances the cursor by one of the `num_steps` steps of a segment. Returns false at the end of the
// pipeline.
bool advance(const RoundsPlan& plan, RoundCursor& cursor, int64_t num_steps, RoundCursor* now) {
  if (cursor.segment >= plan.num_segments) return false;
  *now = cursor;
  if (++cursor.step == num_steps)
    cursor = {.segment = cursor.segment + plan.num_pipelines, .step = 0};
  return true;
}

// Runs a ring. In step s of size - 1, part rank-1-s goes to rank+1 while part rank-2-s comes from
// rank-1. So the sum of part `rank` ends on this rank. As many steps follow that pass the sums
// round.
bool ring_all_reduce(const RoundsPlan& plan, char* scratch, RoundCursor& cursor, Round* round) {
  const auto [summary, rank, size, data, output, sends, receives] = plan.call;
  RoundCursor now;
  if (!advance(plan, cursor, 2 * (size - 1), &now)) return false;
  const bool gathers = now.step >= size - 1;
  const int64_t sent = gathers ? rank - (now.step - (size - 1)) : rank - 1 - now.step;
  const int64_t n = data.num_elements();
  const Extent out = segment_of(plan, part_of(n, size, modulo(sent, size)), now.segment);
  const Extent in = segment_of(plan, part_of(n, size, modulo(sent - 1, size)), now.segment);
  char* target = at(plan, data, in.begin);
  set_send(plan, round, modulo(rank + 1, size), at(plan, data, out.begin), out.count);
  set_receive(plan, round, modulo(rank - 1, size), gathers ? target : scratch, in.count);
  if (!gathers) set_combine(round, target, scratch, target, in.count);
  return true;
}

// Runs the same first half, but the partial sums travel through scratch. Scratch has two halves:
// one to send from, one to receive into.
bool ring_reduce_scatter(const RoundsPlan& plan, char* scratch, RoundCursor& cursor, Round* round) {
  const auto& [summary, rank, size, input, output, sends, receives] = plan.call;
  RoundCursor now;
  if (!advance(plan, cursor, size - 1, &now)) return false;
  const int64_t n = output.num_elements();
  const Extent segment = segment_of(plan, {0, n}, now.segment);
  const int64_t half = plan.segment_elements * plan.element_bytes;
  char* received = scratch + now.step % 2 * half;
  const char* partial = scratch + (now.step + 1) % 2 * half;
  const int64_t sent = modulo(rank - 1 - now.step, size), kept = modulo(rank - 2 - now.step, size);
  const char* own = at(plan, input, kept * n + segment.begin);
  const char* first = at(plan, input, sent * n + segment.begin);
  set_send(plan, round, modulo(rank + 1, size), now.step == 0 ? first : partial, segment.count);
  set_receive(plan, round, modulo(rank - 1, size), received, segment.count);
  char* out = now.step == size - 2 ? at(plan, output, segment.begin) : received;
  set_combine(round, out, received, own, segment.count);
  return true;
}

bool ring_all_gather(const RoundsPlan& plan, RoundCursor& cursor, Round* round) {
  const auto& [summary, rank, size, input, output, sends, receives] = plan.call;
  RoundCursor now;
  if (!advance(plan, cursor, size - 1, &now)) return false;
  const int64_t n = input.num_elements();
  const Extent segment = segment_of(plan, {0, n}, now.segment);
  char* own = at(plan, output, rank * n + segment.begin);
  const char* mine = at(plan, input, segment.begin);
  const char* sent = at(plan, output, modulo(rank - now.step, size) * n + segment.begin);
  set_send(plan, round, modulo(rank + 1, size), now.step == 0 ? mine : sent, segment.count);
  set_receive(plan, round, modulo(rank - 1, size),
              at(plan, output, modulo(rank - 1 - now.step, size) * n + segment.begin),
              segment.count);
  if (now.step == 0) set_copy(round, own, mine, segment.count);
  return true;
}

// Runs recursive doubling over the largest power of two of ranks. Of the first 2 * extra ranks, the
// odd ones give their data to their even neighbour first and get the result last. `total` (n) is
// combined in place; `received` (n) is scratch. Both partners combine in rank order, so that they
// get the same bits.
bool doubling(const RoundsPlan& plan, int64_t step, char* total, char* received, int64_t n,
              Round* round) {
  const int rank = plan.call.rank, size = plan.call.size;
  const int power = static_cast<int>(std::bit_floor(static_cast<unsigned>(size)));
  const int extra = size - power, levels = std::countr_zero(static_cast<unsigned>(power));
  const bool folded = rank < 2 * extra;
  if (folded && rank % 2 == 1) {
    if (step == 0) set_send(plan, round, rank - 1, total, n);
    if (step == 1) set_receive(plan, round, rank - 1, total, n);
    return step < 2;
  }
  const int64_t level = folded ? step - 1 : step;
  if (level < 0) {
    set_receive(plan, round, rank + 1, received, n);
    set_combine(round, total, total, received, n);
  } else if (level < levels) {
    const int place = folded ? rank / 2 : rank - extra;
    const int other = place ^ (1 << level);
    const int partner = other < extra ? 2 * other : other + extra;
    set_send(plan, round, partner, total, n);
    set_receive(plan, round, partner, received, n);
    set_combine(round, total, rank < partner ? total : received, rank < partner ? received : total,
                n);
  } else {
    if (!folded || level > levels) return false;
    set_send(plan, round, rank + 1, total, n);
  }
  return true;
}

bool doubling_all_reduce(const RoundsPlan& plan, char* scratch, RoundCursor& cursor, Round* round) {
  const Tensor& data = plan.call.input;
  return doubling(plan, cursor.step++, static_cast<char*>(data.data()), scratch,
                  data.num_elements(), round);
}

// Runs an all_reduce of a copy of the input, and keeps this rank's part.
bool doubling_reduce_scatter(const RoundsPlan& plan, char* scratch, RoundCursor& cursor,
                             Round* round) {
  const Tensor &input = plan.call.input, &output = plan.call.output;
  const int64_t n = input.num_elements();
  char* total = scratch + n * plan.element_bytes;
  const int64_t step = cursor.step++;
  if (cursor.segment > 0) return false;
  if (step == 0) {
    set_copy(round, total, static_cast<const char*>(input.data()), n);
  } else if (!doubling(plan, step - 1, total, scratch, n, round)) {
    cursor.segment = 1;
    const int64_t own = output.num_elements();
    set_copy(round, static_cast<char*>(output.data()),
             total + plan.call.rank * own * plan.element_bytes, own);
  }
  return true;
}

// Gathers by dissemination. At level k, blocks [rank, rank + 2^k) go to rank - 2^k, and the blocks
// after them come from rank + 2^k. A run of blocks that wraps around the end of the output takes
// two messages, in two steps.
bool dissemination_all_gather(const RoundsPlan& plan, RoundCursor& cursor, Round* round) {
  const auto& [summary, rank, size, input, output, sends, receives] = plan.call;
  const int64_t n = input.num_elements();
  const int64_t step = cursor.step++;
  if (step == 0) {
    set_copy(round, at(plan, output, rank * n), static_cast<const char*>(input.data()), n);
    return true;
  }
  const int64_t distance = int64_t{1} << (step - 1) / 2;
  if (distance >= size) return false;
  const int64_t blocks = std::min<int64_t>(distance, size - distance);
  const bool wrapped = (step - 1) % 2 == 1;
  const int members = size;  // structured bindings cannot be captured
  const auto run = [&](int first) -> Extent {
    const int64_t before_end = std::min<int64_t>(blocks, members - first);
    return wrapped ? Extent{0, blocks - before_end} : Extent{first, before_end};
  };
  const Extent out = run(rank), in = run(modulo(rank + distance, size));
  set_send(plan, round, modulo(rank - distance, size), at(plan, output, out.begin * n),
           out.count * n);
  set_receive(plan, round, modulo(rank + distance, size), at(plan, output, in.begin * n),
              in.count * n);
  return true;
}

// Broadcasts along a binomial tree. For each segment, step 0 receives from the parent; the
// following steps send to the children, the farthest first.
bool binomial_broadcast(const RoundsPlan& plan, RoundCursor& cursor, Round* round) {
  const auto& [summary, rank, size, data, output, sends, receives] = plan.call;
  const int place = modulo(rank - summary.peer, size);
  const int top = static_cast<int>(std::bit_ceil(static_cast<unsigned>(size)));
  // This rank's subtree: places [place, place + span).
  const int span = place == 0 ? top : place & -place;
  const int num_children = std::countr_zero(static_cast<unsigned>(span));
  RoundCursor now;
  if (!advance(plan, cursor, 1 + num_children, &now)) return false;
  const Extent segment = segment_of(plan, {0, data.num_elements()}, now.segment);
  char* elements = at(plan, data, segment.begin);
  if (now.step == 0) {
    if (place != 0)
      set_receive(plan, round, modulo(place - span + summary.peer, size), elements, segment.count);
    return true;
  }
  const int child = place + (span >> now.step);
  if (child < size)
    set_send(plan, round, modulo(child + summary.peer, size), elements, segment.count);
  return true;
}

// Exchanges with one partner after another. cursor.segment is the distance between the partners (0:
// the copy to oneself), cursor.step the piece of the message.
bool pairwise_all_to_all(const RoundsPlan& plan, RoundCursor& cursor, Round* round) {
  const auto& [summary, rank, size, input, output, sends, receives] = plan.call;
  if (cursor.segment >= size) return false;
  const int to = modulo(rank + cursor.segment, size), from = modulo(rank - cursor.segment, size);
  const Tensor &sent = sends[static_cast<size_t>(to)],
               &received = receives[static_cast<size_t>(from)];
  if (cursor.segment == 0) {
    set_copy(round, static_cast<char*>(received.data()), static_cast<const char*>(sent.data()),
             sent.size_bytes());
    cursor = {.segment = plan.num_pipelines, .step = 0};
    return true;
  }
  const int64_t begin = cursor.step * plan.limits.message_bytes;
  const auto piece = [&](const Tensor& tensor) {
    return std::clamp<int64_t>(tensor.size_bytes() - begin, 0, plan.limits.message_bytes);
  };
  set_send(plan, round, to, static_cast<const char*>(sent.data()) + begin, piece(sent));
  set_receive(plan, round, from, static_cast<char*>(received.data()) + begin, piece(received));
  const bool last =
      begin + plan.limits.message_bytes >= std::max(sent.size_bytes(), received.size_bytes());
  cursor = last ? RoundCursor{.segment = cursor.segment + plan.num_pipelines, .step = 0}
                : RoundCursor{.segment = cursor.segment, .step = cursor.step + 1};
  return true;
}

// Sends or receives a message, with one piece per pipeline.
bool message(const RoundsPlan& plan, RoundCursor& cursor, Round* round) {
  const auto& [summary, rank, size, input, output, sends, receives] = plan.call;
  RoundCursor now;
  if (!advance(plan, cursor, 1, &now)) return false;
  const bool is_send = summary.kind == OperationKind::kSend;
  const Tensor& data = is_send ? input : output;
  const Extent piece = segment_of(plan, {0, data.num_elements()}, now.segment);
  char* elements = at(plan, data, piece.begin);
  if (is_send) set_send(plan, round, summary.peer, elements, piece.count);
  if (!is_send) set_receive(plan, round, summary.peer, elements, piece.count);
  return true;
}

void set_segments(RoundsPlan& plan, int64_t segment_bytes, int64_t part_elements) {
  plan.segment_elements = segment_bytes / plan.element_bytes;
  plan.num_segments = divide_up(part_elements, plan.segment_elements);
  plan.num_pipelines =
      static_cast<int>(std::min<int64_t>(plan.limits.num_pipelines, plan.num_segments));
}

// Plans a single pipeline without segments.
void set_single(RoundsPlan& plan, Algorithm algorithm, int64_t scratch_bytes) {
  plan.algorithm = algorithm;
  plan.num_pipelines = 1;
  plan.scratch_bytes = scratch_bytes;
}

void plan_reduction(RoundsPlan& plan) {
  const auto& [summary, rank, size, input, output, sends, receives] = plan.call;
  const bool scatters = summary.kind == OperationKind::kReduceScatter;
  const int64_t n = input.num_elements(), bytes = n * plan.element_bytes;
  if (n == 0) return;
  // Between two or three ranks a ring scatters in as few rounds and moves less data.
  const bool is_short = bytes <= plan.limits.segment_bytes && bytes / size <= kDoublingPartBytes;
  if (is_short && !(scatters && size <= 3)) {
    return set_single(plan,
                      scatters ? Algorithm::kDoublingReduceScatter : Algorithm::kDoublingAllReduce,
                      scatters ? 2 * bytes : bytes);
  }
  plan.algorithm = scatters ? Algorithm::kRingReduceScatter : Algorithm::kRingAllReduce;
  set_segments(plan, plan.limits.segment_bytes, divide_up(n, size));
  plan.scratch_bytes = (scatters ? 2 : 1) * plan.limits.segment_bytes;
}

void plan_all_gather(RoundsPlan& plan) {
  const int64_t n = plan.call.input.num_elements();
  if (n == 0) return;
  if (plan.call.size > 2 && n * plan.element_bytes <= kDisseminationPartBytes &&
      plan.call.size * n * plan.element_bytes <= plan.limits.message_bytes) {
    return set_single(plan, Algorithm::kDisseminationAllGather, 0);
  }
  plan.algorithm = Algorithm::kRingAllGather;
  set_segments(plan, plan.limits.segment_bytes, n);
}

}  // namespace

RoundsPlan plan_rounds(const RoundsCall& call, const RoundLimits& limits) {
  LEASEHOLD_CHECK(limits.segment_bytes >= 8 && limits.segment_bytes % 8 == 0 &&
                      limits.message_bytes >= 8 && limits.message_bytes % 8 == 0 &&
                      limits.num_pipelines >= 1 && limits.num_pipelines <= kMaxPipelines,
                  "rounds of {} and {} bytes in {} pipelines", limits.segment_bytes,
                  limits.message_bytes, limits.num_pipelines);
  RoundsPlan plan{.call = call, .limits = limits};
  plan.element_bytes =
      call.summary.kind == OperationKind::kAllToAll ? 1 : size_of(call.summary.dtype);
  switch (call.summary.kind) {
    case OperationKind::kAllReduce:
    case OperationKind::kReduceScatter:
      plan_reduction(plan);
      break;
    case OperationKind::kAllGather:
      plan_all_gather(plan);
      break;
    case OperationKind::kBroadcast:
      plan.algorithm = Algorithm::kBinomialBroadcast;
      set_segments(plan, limits.segment_bytes, call.input.num_elements());
      break;
    case OperationKind::kAllToAll:
      plan.algorithm = Algorithm::kPairwiseAllToAll;
      plan.num_pipelines = std::min(limits.num_pipelines, call.size);
      break;
    case OperationKind::kSend:
    case OperationKind::kReceive:
      plan.algorithm = Algorithm::kMessage;
      set_segments(plan, limits.message_bytes, call.summary.elements);
      plan.num_pipelines = static_cast<int>(plan.num_segments);
      break;
    case OperationKind::kSplit:
      break;
  }
  return plan;
}

bool next_round(const RoundsPlan& plan, char* scratch, RoundCursor& cursor, Round* round) {
  *round = Round();
  switch (plan.algorithm) {
    case Algorithm::kRingAllReduce:
      return ring_all_reduce(plan, scratch, cursor, round);
    case Algorithm::kRingReduceScatter:
      return ring_reduce_scatter(plan, scratch, cursor, round);
    case Algorithm::kRingAllGather:
      return ring_all_gather(plan, cursor, round);
    case Algorithm::kDoublingAllReduce:
      return doubling_all_reduce(plan, scratch, cursor, round);
    case Algorithm::kDoublingReduceScatter:
      return doubling_reduce_scatter(plan, scratch, cursor, round);
    case Algorithm::kDisseminationAllGather:
      return dissemination_all_gather(plan, cursor, round);
    case Algorithm::kBinomialBroadcast:
      return binomial_broadcast(plan, cursor, round);
    case Algorithm::kPairwiseAllToAll:
      return pairwise_all_to_all(plan, cursor, round);
    case Algorithm::kMessage:
      return message(plan, cursor, round);
  }
  return false;
}

}  // namespace leasehold
