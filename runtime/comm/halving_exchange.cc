// Implements recursive halving (Thakur, Rabenseifner and Gropp, "Optimization of collective
// communication operations in MPICH", 2005, section 3.2). It begins at distance one, so that the
// partners are siblings in the tree: in turn t rank r meets r ^ 2^t and keeps the shards s that
// agree with r in bit t.
#include <bit>

#include "runtime/base/check.h"
#include "runtime/comm/reduction_exchange.h"

namespace leasehold {

namespace {

int64_t reverse_bits(int64_t value, int num_bits) {
  int64_t reversed = 0;
  for (int bit = 0; bit < num_bits; ++bit) reversed |= (value >> bit & 1) << (num_bits - 1 - bit);
  return reversed;
}

// In turn 0 a rank keeps every second shard, in turn 1 every second one of the rest. The first
// message is packed in bit-reversed order, which makes the halves of all later turns contiguous.
// Sums accumulate in the memory where that message arrived.
class HalvingExchange : public ReductionExchange {
 public:
  HalvingExchange(const ReductionSetup& setup, Arena& arena)
      : group_(setup.group),
        kernels_(setup.kernels),
        rank_(setup.group->rank()),
        num_turns_(std::bit_width(static_cast<uint64_t>(setup.group->size())) - 1) {
    const Shape half{setup.group->size() / 2, setup.max_shard_elements};
    sums_memory_ = arena.allocate(kernels_->gradient_dtype(), half);
    if (num_turns_ > 1) message_memory_ = arena.allocate(kernels_->gradient_dtype(), half);
    send_.resize(static_cast<size_t>(group_->size()));
    receive_.resize(static_cast<size_t>(group_->size()));
  }

  void start(std::span<const Tensor> roots, Tensor shard, Stream& stream) override {
    root_ = roots[0];
    shard_ = shard;
    turn_ = 0;
    const int64_t n = shard.num_elements();
    const int64_t half = group_->size() / 2;
    sums_ = sums_memory_.flat(0, half * n);
    if (num_turns_ == 1) {
      exchange(root_.flat(partner() * n, n), sums_, stream);
      return;
    }
    const Tensor packed = message_memory_.flat(0, half * n);
    for (int64_t place = 0; place < half; ++place) {
      const Tensor part = root_.flat(shard_at(place, partner()) * n, n);
      stream.copy(packed.flat(place * n, n).data(), part.data(), part.size_bytes());
    }
    exchange(packed, sums_, stream);
  }

  bool advance(Stream& stream) override {
    work_.then(stream);
    work_ = Work();
    const int64_t n = shard_.num_elements();
    const bool last = turn_ + 1 == num_turns_;
    if (turn_ == 0) {
      for (int64_t place = 0; place < group_->size() / 2; ++place) {
        const Tensor received = sums_.flat(place * n, n);
        add(root_.flat(shard_at(place, rank_) * n, n), received, last ? shard_ : received, stream);
      }
    } else {
      add(sums_, message_memory_.flat(0, sums_.num_elements()), last ? shard_ : sums_, stream);
    }
    if (last) return true;
    ++turn_;
    // The half with the shards that have this turn's bit set comes second.
    const int64_t half = sums_.num_elements() / 2;
    const int64_t kept = rank_bit() * half;
    exchange(sums_.flat(half - kept, half), message_memory_.flat(0, half), stream);
    sums_ = sums_.flat(kept, half);
    return false;
  }

 private:
  int64_t rank_bit() const { return rank_ >> turn_ & 1; }
  int partner() const { return rank_ ^ 1 << turn_; }
  // Returns the shard whose part lies at `place` of the first message to `owner`.
  int64_t shard_at(int64_t place, int owner) const {
    return reverse_bits(place, num_turns_ - 1) << 1 | (owner & 1);
  }

  // Exchanges like an all_to_all between two ranks: both directions at once, so that no order of
  // sends and receives can block.
  void exchange(Tensor to_partner, Tensor from_partner, Stream& stream) {
    const auto peer = static_cast<size_t>(partner());
    send_[peer] = to_partner;
    receive_[peer] = from_partner;
    work_ = group_->all_to_all(send_, receive_, stream);
    send_[peer] = receive_[peer] = Tensor();
  }

  // Adds the two sums. The partner's sum is the left operand if the partner is the left sibling.
  void add(Tensor own, Tensor received, Tensor out, Stream& stream) {
    if (rank_bit() == 0) {
      kernels_->add(stream, own, received, out);
    } else {
      kernels_->add(stream, received, own, out);
    }
  }

  Communicator* group_;
  Kernels* kernels_;
  int rank_;
  int num_turns_;
  Tensor sums_memory_;     // (size / 2, max_shard_elements)
  Tensor message_memory_;  // same shape: first the outgoing message, then the incoming one
  std::vector<Tensor> send_;
  std::vector<Tensor> receive_;
  int turn_ = 0;
  Tensor root_;
  Tensor shard_;
  Tensor sums_;  // what this rank still sums, in bit-reversed order of shards
  Work work_;
};

}  // namespace

bool can_halve(const ReductionSetup& setup) {
  if (setup.roots.size() < 2 || !std::has_single_bit(setup.roots.size())) return false;
  const int level = setup.roots[0].empty() ? 0 : setup.roots[0][0].level;
  for (size_t rank = 0; rank < setup.roots.size(); ++rank) {
    if (setup.roots[rank] != std::vector<TreeNode>{{level, static_cast<int64_t>(rank)}})
      return false;
  }
  return true;
}

std::unique_ptr<ReductionExchange> create_halving_exchange(const ReductionSetup& setup,
                                                           Arena& arena) {
  LEASEHOLD_CHECK(can_halve(setup), "{}: lanes do not allow recursive halving",
                  setup.group->name());
  return std::make_unique<HalvingExchange>(setup, arena);
}

}  // namespace leasehold
