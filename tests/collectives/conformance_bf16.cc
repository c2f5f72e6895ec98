#include "tests/collectives/conformance_data.h"

namespace leasehold {

// Moves elements without adding them: each arrives unchanged, NaN payloads too.
void conformance_bf16_moves(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  const int size = group.size(), me = group.rank();
  for (const int64_t n : kSizes) {
    const auto bits_of = [&](int rank) {
      std::vector<uint16_t> bits(static_cast<size_t>(n));
      for (size_t i = 0; i < bits.size(); ++i)
        bits[i] = static_cast<uint16_t>(0x7f70 + 37 * static_cast<size_t>(rank) + 11 * i);
      return bits;
    };
    const auto make = [&](int rank, int copies) {
      std::vector<Bf16> values;
      for (int copy = 0; copy < copies; ++copy) {
        for (const uint16_t bits : bits_of(rank)) values.push_back({bits});
      }
      return Data<Bf16>(on, values);
    };
    // Checks that part `part` of `data` comes from rank `from`.
    const auto expect_from = [&](int from, const Data<Bf16>& data, int64_t part) {
      const std::vector<Bf16> values = data.values();
      std::vector<uint16_t> bits;
      for (int64_t i = 0; i < n; ++i)
        bits.push_back(values[static_cast<size_t>(part * n + i)].bits);
      EXPECT_EQ(bits, bits_of(from)) << n;
    };
    const Data<Bf16> mine = make(me, 1), to_all = make(me, size);
    const auto gathered = Data<Bf16>::zeros(on, size * n),
               from_all = Data<Bf16>::zeros(on, size * n);
    std::vector<Tensor> sends, receives;
    for (int p = 0; p < size; ++p) {
      sends.push_back(to_all.view(p * n, n));
      receives.push_back(from_all.view(p * n, n));
    }
    expect_done(group.all_gather(mine.view(), gathered.view(), *stream));
    expect_done(group.all_to_all(sends, receives, *stream));
    for (int p = 0; p < size; ++p) {
      expect_from(p, gathered, p);
      expect_from(p, from_all, p);
    }
    const Data<Bf16> root = make(me, 1);
    expect_done(group.broadcast(root.view(), size - 1, *stream));
    expect_from(size - 1, root, 0);
    if (size == 1) continue;
    // Sends round the ranks; odd ranks receive first.
    const auto received = Data<Bf16>::zeros(on, n);
    const int next = (me + 1) % size, previous = (me + size - 1) % size;
    std::vector<Work> works;
    for (const bool sends_now : {me % 2 == 0, me % 2 != 0}) {
      works.push_back(sends_now ? group.send(mine.view(), next, *stream)
                                : group.receive(received.view(), previous, *stream));
    }
    for (const Work& work : works) expect_done(work);
    expect_from(previous, received, 0);
  }
  const auto values = Data<Bf16>::zeros(on, 1);
  EXPECT_THROW((void)group.all_reduce(values.view(), ReduceOp::kSum, *stream), StatusError);
}

}  // namespace leasehold
