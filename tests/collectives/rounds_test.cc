// Tests the schedules alone. One thread simulates all ranks of a group and delivers their messages
// in random order, for every operation and many sizes of group and data. Small limits cut small
// data into many pieces.
#include "collectives/rounds.h"

#include <cstring>
#include <deque>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <vector>

#include "collectives/combine.h"

namespace leasehold {

namespace {

struct Member {
  RoundsPlan plan;
  struct Pipeline {
    RoundCursor cursor;
    Round round;
    bool sent = true, received = true, ended = false;
  };
  std::vector<Pipeline> pipelines;
  // Exactly the size that the plan asks for: a sanitizer detects a byte more.
  std::vector<std::vector<char>> scratch;
};

// Runs every member's rounds to the end. As in a rendezvous, a message leaves its sender's memory
// only when the receiver takes it; the sender continues after that.
class Simulation {
 public:
  Simulation(const std::vector<RoundsCall>& calls, const RoundLimits& limits, uint64_t seed)
      : random_(seed) {
    for (const RoundsCall& call : calls) {
      Member& member = members_.emplace_back();
      member.plan = plan_rounds(call, limits);
      member.pipelines.resize(static_cast<size_t>(member.plan.num_pipelines));
      for (int p = 0; p < member.plan.num_pipelines; ++p) {
        member.pipelines[static_cast<size_t>(p)].cursor = RoundCursor::at_begin(member.plan, p);
        member.scratch.emplace_back(static_cast<size_t>(member.plan.scratch_bytes));
      }
    }
  }

  // Returns false on a deadlock or a message of the wrong length.
  bool run() {
    for (size_t r = 0; r < members_.size(); ++r) {
      for (size_t p = 0; p < members_[r].pipelines.size(); ++p) next(r, p);
    }
    while (true) {
      std::vector<std::pair<size_t, size_t>> waiting;
      bool all_ended = true;
      for (size_t r = 0; r < members_.size(); ++r) {
        for (size_t p = 0; p < members_[r].pipelines.size(); ++p) {
          const auto& pipeline = members_[r].pipelines[p];
          all_ended &= pipeline.ended;
          if (!pipeline.ended && !pipeline.received && sender(r, p) != nullptr)
            waiting.emplace_back(r, p);
        }
      }
      if (all_ended) return true;
      if (waiting.empty()) return false;
      const auto [rank, index] = waiting[random_() % waiting.size()];
      if (!deliver(rank, index)) return false;
    }
  }

  int64_t num_messages = 0, longest = 0;

 private:
  Member::Pipeline* sender(size_t rank, size_t index) {
    const Round& round = members_[rank].pipelines[index].round;
    Member& peer = members_[static_cast<size_t>(round.receive_from)];
    if (index >= peer.pipelines.size()) return nullptr;
    Member::Pipeline& other = peer.pipelines[index];
    const bool waits = !other.ended && !other.sent && other.round.send_to == static_cast<int>(rank);
    return waits ? &other : nullptr;
  }

  bool deliver(size_t rank, size_t index) {
    Member::Pipeline& target = members_[rank].pipelines[index];
    Member::Pipeline& source = *sender(rank, index);
    const auto from = static_cast<size_t>(target.round.receive_from);
    if (source.round.send_bytes != target.round.receive_bytes) return false;
    std::memcpy(target.round.receive, source.round.send,
                static_cast<size_t>(source.round.send_bytes));
    ++num_messages;
    longest = std::max(longest, source.round.send_bytes);
    source.sent = target.received = true;
    complete(from, index);
    if (&source != &target) complete(rank, index);
    return true;
  }

  void complete(size_t rank, size_t index) {
    Member::Pipeline& pipeline = members_[rank].pipelines[index];
    if (pipeline.ended || !pipeline.sent || !pipeline.received) return;
    apply(members_[rank].plan, pipeline.round);
    next(rank, index);
  }

  void next(size_t rank, size_t index) {
    Member& member = members_[rank];
    Member::Pipeline& pipeline = member.pipelines[index];
    while (
        next_round(member.plan, member.scratch[index].data(), pipeline.cursor, &pipeline.round)) {
      pipeline.sent = pipeline.round.send_to < 0;
      pipeline.received = pipeline.round.receive_from < 0;
      if (!pipeline.sent || !pipeline.received) return;
      apply(member.plan, pipeline.round);
    }
    pipeline.ended = true;
  }

  static void apply(const RoundsPlan& plan, const Round& round) {
    if (round.then == Round::Then::kCopy) {
      std::memmove(round.out, round.left, static_cast<size_t>(round.elements * plan.element_bytes));
    } else if (round.then == Round::Then::kCombine) {
      combine(plan.call.summary.dtype, plan.call.summary.op, round.out, round.left, round.right,
              round.elements);
    }
  }

  std::vector<Member> members_;
  std::mt19937_64 random_;
};

using Values = std::vector<int32_t>;

Tensor view(Values& values) {
  return Tensor(values.data(), DType::kI32, {static_cast<int64_t>(values.size())});
}

Values random_values(std::mt19937_64& random, int64_t n) {
  Values values(static_cast<size_t>(n));
  for (int32_t& value : values) value = static_cast<int32_t>(random() % 1000);
  return values;
}

struct RoundsSetting {
  int size;
  int64_t n;
  RoundLimits limits;
};

std::vector<RoundsSetting> rounds_settings() {
  std::vector<RoundsSetting> all;
  const RoundLimits tiny{.segment_bytes = 16, .message_bytes = 24, .num_pipelines = 3};
  const RoundLimits single{.segment_bytes = 64, .message_bytes = 64, .num_pipelines = 1};
  for (int size = 2; size <= 9; ++size) {
    for (const int64_t n : {0, 1, 2, 3, 7, 16, 41, 100}) {
      for (const RoundLimits& limits : {tiny, single, RoundLimits{}})
        all.push_back({size, n, limits});
    }
  }
  all.push_back({3, 50000, {}});  // the ring, with usual limits
  all.push_back({17, 5, {}});
  return all;
}

std::string describe(const RoundsSetting& setting) {
  return fmt::format("{} ranks, n {}, segments of {} bytes, {} pipelines", setting.size, setting.n,
                     setting.limits.segment_bytes, setting.limits.num_pipelines);
}

template <typename Body>
void for_all_settings(Body body) {
  uint64_t seed = 7;
  for (const RoundsSetting& setting : rounds_settings()) {
    SCOPED_TRACE(describe(setting) + fmt::format(", seed {}", ++seed));
    std::mt19937_64 random(seed);
    body(setting, random, seed);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(RoundsTest, AllReduce) {
  for_all_settings([](const RoundsSetting& setting, std::mt19937_64& random, uint64_t seed) {
    std::vector<Values> data;
    std::vector<RoundsCall> calls;
    Values sums(static_cast<size_t>(setting.n));
    for (int r = 0; r < setting.size; ++r) {
      data.push_back(random_values(random, setting.n));
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += data.back()[i];
    }
    for (int r = 0; r < setting.size; ++r) {
      const Tensor tensor = view(data[static_cast<size_t>(r)]);
      calls.push_back({{OperationKind::kAllReduce, DType::kI32, ReduceOp::kSum, -1, setting.n},
                       r,
                       setting.size,
                       tensor,
                       tensor,
                       {},
                       {}});
    }
    Simulation simulation(calls, setting.limits, seed);
    ASSERT_TRUE(simulation.run());
    for (const Values& result : data) EXPECT_EQ(result, sums);
    EXPECT_LE(simulation.longest, std::max<int64_t>(setting.limits.segment_bytes, 0));
  });
}

// Floating-point sums depend on their order; still, every rank must get the same bits.
TEST(RoundsTest, AllReduceGivesAllRanksTheSameBits) {
  for (int size = 2; size <= 9; ++size) {
    for (const int64_t n : {5, 300, 40000}) {
      std::mt19937_64 random(static_cast<uint64_t>(size + n));
      std::vector<std::vector<float>> data(static_cast<size_t>(size));
      std::vector<RoundsCall> calls;
      for (int r = 0; r < size; ++r) {
        auto& values = data[static_cast<size_t>(r)];
        for (int64_t i = 0; i < n; ++i)
          values.push_back(std::uniform_real_distribution<float>(-1, 1)(random));
        const Tensor tensor(values.data(), DType::kF32, {n});
        calls.push_back({{OperationKind::kAllReduce, DType::kF32, ReduceOp::kSum, -1, n},
                         r,
                         size,
                         tensor,
                         tensor,
                         {},
                         {}});
      }
      ASSERT_TRUE(Simulation(calls, {.segment_bytes = 4096}, 3).run());
      for (const auto& values : data) EXPECT_EQ(values, data[0]) << size << " ranks, n " << n;
    }
  }
}

TEST(RoundsTest, ReduceScatter) {
  for_all_settings([](const RoundsSetting& setting, std::mt19937_64& random, uint64_t seed) {
    const int64_t whole = setting.n * setting.size;
    for (const bool in_place : {false, true}) {
      std::vector<Values> inputs,
          outputs(static_cast<size_t>(setting.size), Values(static_cast<size_t>(setting.n)));
      std::vector<RoundsCall> calls;
      Values sums(static_cast<size_t>(whole));
      for (int r = 0; r < setting.size; ++r) {
        inputs.push_back(random_values(random, whole));
        for (size_t i = 0; i < sums.size(); ++i) sums[i] += inputs.back()[i];
      }
      const std::vector<Values> before = inputs;
      for (int r = 0; r < setting.size; ++r) {
        const auto i = static_cast<size_t>(r);
        const Tensor output =
            in_place ? view(inputs[i]).flat(r * setting.n, setting.n) : view(outputs[i]);
        calls.push_back(
            {{OperationKind::kReduceScatter, DType::kI32, ReduceOp::kSum, -1, setting.n},
             r,
             setting.size,
             view(inputs[i]),
             output,
             {},
             {}});
      }
      ASSERT_TRUE(Simulation(calls, setting.limits, seed).run());
      for (int r = 0; r < setting.size; ++r) {
        const auto i = static_cast<size_t>(r);
        const int32_t* result = in_place ? inputs[i].data() + r * setting.n : outputs[i].data();
        EXPECT_TRUE(std::equal(result, result + setting.n, sums.begin() + r * setting.n))
            << r << in_place;
        EXPECT_TRUE(in_place || inputs[i] == before[i]);
      }
    }
  });
}

TEST(RoundsTest, AllGather) {
  for_all_settings([](const RoundsSetting& setting, std::mt19937_64& random, uint64_t seed) {
    std::vector<Values> inputs;
    std::vector<Values> outputs(static_cast<size_t>(setting.size),
                                Values(static_cast<size_t>(setting.n * setting.size), -1));
    std::vector<RoundsCall> calls;
    Values expected;
    for (int r = 0; r < setting.size; ++r) {
      inputs.push_back(random_values(random, setting.n));
      expected.insert(expected.end(), inputs.back().begin(), inputs.back().end());
    }
    for (int r = 0; r < setting.size; ++r) {
      const auto i = static_cast<size_t>(r);
      calls.push_back({{OperationKind::kAllGather, DType::kI32, ReduceOp::kSum, -1, setting.n},
                       r,
                       setting.size,
                       view(inputs[i]),
                       view(outputs[i]),
                       {},
                       {}});
    }
    ASSERT_TRUE(Simulation(calls, setting.limits, seed).run());
    for (const Values& output : outputs) EXPECT_EQ(output, expected);
  });
}

TEST(RoundsTest, Broadcast) {
  for_all_settings([](const RoundsSetting& setting, std::mt19937_64& random, uint64_t seed) {
    const int root = static_cast<int>(seed % static_cast<uint64_t>(setting.size));
    std::vector<Values> data;
    std::vector<RoundsCall> calls;
    for (int r = 0; r < setting.size; ++r) data.push_back(random_values(random, setting.n));
    const Values expected = data[static_cast<size_t>(root)];
    for (int r = 0; r < setting.size; ++r) {
      const Tensor tensor = view(data[static_cast<size_t>(r)]);
      calls.push_back({{OperationKind::kBroadcast, DType::kI32, ReduceOp::kSum, root, setting.n},
                       r,
                       setting.size,
                       tensor,
                       tensor,
                       {},
                       {}});
    }
    ASSERT_TRUE(Simulation(calls, setting.limits, seed).run());
    for (const Values& values : data) EXPECT_EQ(values, expected);
  });
}

TEST(RoundsTest, AllToAllOfUnevenSizes) {
  for_all_settings([](const RoundsSetting& setting, std::mt19937_64& random, uint64_t seed) {
    const auto size = static_cast<size_t>(setting.size);
    std::vector<std::vector<Values>> sent(size), received(size);
    std::vector<std::vector<Tensor>> sends(size), receives(size);
    for (size_t from = 0; from < size; ++from) {
      for (size_t to = 0; to < size; ++to) {
        const int64_t n =
            random() % 3 == 0
                ? 0
                : static_cast<int64_t>(random() % static_cast<uint64_t>(setting.n + 1));
        sent[from].push_back(random_values(random, n));
      }
    }
    for (size_t to = 0; to < size; ++to) {
      for (size_t from = 0; from < size; ++from) received[to].emplace_back(sent[from][to].size());
    }
    std::vector<RoundsCall> calls;
    for (size_t r = 0; r < size; ++r) {
      for (size_t p = 0; p < size; ++p) {
        sends[r].push_back(sent[r][p].empty() ? Tensor() : view(sent[r][p]));
        receives[r].push_back(received[r][p].empty() ? Tensor() : view(received[r][p]));
      }
      calls.push_back({{.kind = OperationKind::kAllToAll},
                       static_cast<int>(r),
                       setting.size,
                       {},
                       {},
                       sends[r],
                       receives[r]});
    }
    Simulation simulation(calls, setting.limits, seed);
    ASSERT_TRUE(simulation.run());
    for (size_t to = 0; to < size; ++to) {
      for (size_t from = 0; from < size; ++from) EXPECT_EQ(received[to][from], sent[from][to]);
    }
    EXPECT_LE(simulation.longest, setting.limits.message_bytes);
  });
}

TEST(RoundsTest, MessagesAreCutAtTheLimit) {
  Values out(100, 3), in(100);
  const std::vector<RoundsCall> calls = {
      {{OperationKind::kSend, DType::kI32, ReduceOp::kSum, 1, 100}, 0, 2, view(out), {}, {}, {}},
      {{OperationKind::kReceive, DType::kI32, ReduceOp::kSum, 0, 100}, 1, 2, {}, view(in), {}, {}}};
  Simulation simulation(calls, {.message_bytes = 64}, 1);
  ASSERT_TRUE(simulation.run());
  EXPECT_EQ(in, out);
  EXPECT_EQ(simulation.num_messages, 7);
  EXPECT_EQ(simulation.longest, 64);
}

// The number of steps of short reductions and gathers grows with the logarithm of the ranks.
TEST(RoundsTest, ShortOperationsTakeFewSteps) {
  Values data(4);
  const auto count_rounds = [&](OperationKind kind, Tensor input, Tensor output) {
    const RoundsPlan plan = plan_rounds(
        {{kind, DType::kI32, ReduceOp::kSum, -1, 4}, 5, 1024, input, output, {}, {}}, {});
    std::vector<char> scratch(static_cast<size_t>(plan.scratch_bytes));
    RoundCursor cursor;
    Round round;
    int rounds = 0;
    while (next_round(plan, scratch.data(), cursor, &round))
      rounds += round.send_to >= 0 || round.receive_from >= 0;
    return rounds;
  };
  EXPECT_EQ(count_rounds(OperationKind::kAllReduce, view(data), view(data)), 10);
  Values whole(4 * 1024);
  EXPECT_LE(count_rounds(OperationKind::kAllGather, view(data), view(whole)), 20);
}

}  // namespace

}  // namespace leasehold
