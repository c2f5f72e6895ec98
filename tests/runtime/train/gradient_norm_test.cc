// The norm has the same bits however the chunks are spread over ranks, it is the norm, and a rank's
// part in it does not grow with the world.
#include "runtime/train/gradient_norm.h"

#include <bit>
#include <cmath>
#include <deque>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <random>

#include "collectives/threads.h"
#include "runtime/base/random.h"
#include "runtime/comm/tree.h"
#include "runtime/device/cpu_device.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {
namespace {

using Specs = std::vector<ParameterSpec>;

// A square sum for chunk `chunk` of a parameter; magnitudes differ, so that the order of addition
// shows.
double chunk_sum(const std::string& parameter, int64_t chunk) {
  const RandomSite site = RandomSite::make(7, parameter);
  return std::exp(8.0 * site.normal(static_cast<uint64_t>(chunk)));
}

Specs norm_specs() {
  return {{.name = "z", .shape = {13 * Kernels::kChunk - 1}},
          {.name = "tied", .shape = {5 * Kernels::kChunk}, .num_gradient_slots = 2},
          {.name = "a", .shape = {9}},
          {.name = "m", .shape = {31 * Kernels::kChunk + 3}}};
}

std::vector<NormTree> trees_of(const Specs& specs) {
  std::vector<NormTree> trees;
  for (const ParameterSpec& spec : specs) trees.push_back({spec.name, 0});
  std::ranges::sort(trees);
  return trees;
}

// By definition: each parameter's chunks in the whole tree, the parameters in the order of names.
double defined_norm(const Specs& specs) {
  std::map<std::string, double> sums;
  for (const ParameterSpec& spec : specs) {
    std::vector<double> chunks;
    const int64_t n = (spec.shape.num_elements() + Kernels::kChunk - 1) / Kernels::kChunk;
    for (int64_t chunk = 0; chunk < n; ++chunk) chunks.push_back(chunk_sum(spec.name, chunk));
    sums[spec.name] = tree_sum(chunks);
  }
  double squares = 0;
  for (const auto& [name, sum] : sums) squares += sum;
  return std::sqrt(squares);
}

struct NormWorld {
  std::vector<NormTree> trees;
  FlatLayout layout;

  NormWorld(const Specs& specs, int num_ranks, int64_t bucket_chunks)
      : trees(trees_of(specs)),
        layout(make_flat_layout(ParameterTable(specs), num_ranks,
                                4 * bucket_chunks * Kernels::kChunk)) {}

  std::vector<NormPart> parts() const {
    return {{.layout = &layout,
             .piece = 0,
             .counted = std::vector<bool>(layout.parameters.size(), true)}};
  }
  NormPlan plan(int rank) const { return plan_norm(parts(), rank, trees); }
  std::vector<double> chunk_sums(int rank) const {
    std::vector<double> sums(static_cast<size_t>(layout.num_shard_elements / Kernels::kChunk));
    for (const OwnedRange& range : layout.owned_by(rank)) {
      const std::string& name = layout.parameters[static_cast<size_t>(range.parameter)].name;
      for (int64_t at = 0; at < range.count; at += Kernels::kChunk) {
        sums[static_cast<size_t>((range.shard_begin + at) / Kernels::kChunk)] =
            chunk_sum(name, (range.begin + at) / Kernels::kChunk);
      }
    }
    return sums;
  }
};

// All ranks' plans in one thread, each going on while what it waits for has come.
class NormSimulation {
 public:
  explicit NormSimulation(const NormWorld& world) : world_(world), roots_(world.trees.size()) {
    for (int rank = 0; rank < world.layout.num_ranks; ++rank) {
      Rank& of = ranks_.emplace_back(Rank{world.plan(rank), {}, 0, false});
      of.values.resize(static_cast<size_t>(of.plan.num_slots));
      const std::vector<double> sums = world.chunk_sums(rank);
      EXPECT_EQ(std::ssize(sums), of.plan.num_chunks);
      for (size_t slot = 0; slot < of.plan.nodes.size(); ++slot) {
        const auto& [first, count] = of.plan.nodes[slot];
        of.values[slot] = tree_sum(
            std::span(sums).subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
      }
    }
  }

  double norm() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < std::ssize(ranks_); ++rank)
        while (advance(rank)) moved = true;
    }
    for (const Rank& rank : ranks_) {
      EXPECT_EQ(rank.round, rank.plan.rounds.size()) << "a rank waits for ever";
      for (const auto& [slot, tree] : rank.plan.roots)
        roots_[static_cast<size_t>(tree)] = rank.values[slot];
    }
    for (const auto& [pair, queue] : mail_) EXPECT_TRUE(queue.empty()) << "nobody wants a value";
    return GradientNorm::norm(roots_);
  }

 private:
  struct Rank {
    NormPlan plan;
    std::vector<double> values;
    size_t round = 0;
    bool has_sent = false;  // in this round
  };

  bool advance(int number) {
    Rank& rank = ranks_[static_cast<size_t>(number)];
    if (rank.round == rank.plan.rounds.size()) return false;
    const NormPlan::Round& round = rank.plan.rounds[rank.round];
    if (!rank.has_sent) {
      for (const auto& [left, right] : round.merges) rank.values[left] += rank.values[right];
      for (const auto& message : round.sends) {
        for (int64_t i = message.begin; i < message.begin + message.count; ++i) {
          const size_t slot = rank.plan.sent_slots[static_cast<size_t>(i)];
          mail_[{number, message.peer}].push_back(rank.values[slot]);
        }
      }
      rank.has_sent = true;
    }
    for (const auto& message : round.receives)
      if (std::ssize(mail_[{message.peer, number}]) < message.count) return false;
    for (const auto& message : round.receives) {
      auto& queue = mail_[{message.peer, number}];
      for (int64_t i = message.begin; i < message.begin + message.count; ++i) {
        rank.values[static_cast<size_t>(i)] = queue.front();
        queue.pop_front();
      }
    }
    ++rank.round;
    rank.has_sent = false;
    return true;
  }

  const NormWorld& world_;
  std::vector<Rank> ranks_;
  std::vector<double> roots_;
  std::map<std::pair<int, int>, std::deque<double>> mail_;
};

TEST(GradientNorm, HasTheSameBitsForEveryNumberOfRanksAndBucketSize) {
  const double norm = defined_norm(norm_specs());
  for (int ranks = 1; ranks <= 33; ++ranks) {
    for (const int64_t chunks : {1, 2, 5, 100}) {
      const NormWorld world(norm_specs(), ranks, chunks);
      EXPECT_EQ(NormSimulation(world).norm(), norm) << ranks << " " << chunks;
    }
  }
}

TEST(GradientNorm, HasTheSameBitsForRandomParameters) {
  const uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  for (int trial = 0; trial < 150; ++trial) {
    Specs specs;
    for (uint64_t i = 0; i < 1 + random() % 6; ++i) {
      const auto elements = static_cast<int64_t>(1 + random() % (700 * Kernels::kChunk));
      specs.push_back({.name = std::to_string(random() % 1000) + "." + std::to_string(i),
                       .shape = {random() % 2 == 0 ? elements : elements / 64 + 1}});
    }
    const auto ranks = static_cast<int>(1 + random() % 48);
    const auto chunks = static_cast<int64_t>(1 + random() % 300);
    const NormWorld world(specs, ranks, chunks);
    ASSERT_EQ(NormSimulation(world).norm(), defined_norm(specs))
        << "seed " << seed << ", trial " << trial << ", " << ranks << " ranks";
  }
}

TEST(GradientNorm, IsSummedOverAWorld) {
  for (const int ranks : {1, 2, 5, 8}) {
    const NormWorld world(norm_specs(), ranks, 4);
    run_ranks(ranks, {.delay_seed = 3}, [&](Communicator& group) {
      const auto device = CpuDevice::create({});
      const auto stream = device->create_stream("host").value();
      std::vector<int> world_ranks;
      for (int rank = 0; rank < ranks; ++rank) world_ranks.push_back(rank);
      GradientNorm norm(world.parts(), group.rank(), world.trees, world_ranks);
      for (int repeat = 0; repeat < 3; ++repeat) {
        std::vector<double> roots(world.trees.size(), -std::numeric_limits<double>::infinity());
        throw_if_error(
            norm.sum(world.chunk_sums(group.rank()), group, *stream, Deadline::after_s(30), roots));
        const Tensor all(roots.data(), DType::kF64, Shape{std::ssize(roots)});
        throw_if_error(group.all_reduce(all, ReduceOp::kMax, *stream).wait(Deadline::after_s(30)));
        EXPECT_EQ(GradientNorm::norm(roots), defined_norm(norm_specs()));
      }
    });
  }
}

TEST(GradientNorm, IsTheNorm) {
  double squares = 0;
  for (const ParameterSpec& spec : norm_specs()) {
    for (int64_t at = 0; at < spec.shape.num_elements(); at += Kernels::kChunk)
      squares += chunk_sum(spec.name, at / Kernels::kChunk);
  }
  EXPECT_NEAR(NormSimulation(NormWorld(norm_specs(), 3, 2)).norm() / std::sqrt(squares), 1.0,
              1e-12);
}

// The same shards per rank in worlds of up to 4096 ranks: what a rank holds and sends grows with
// the depth of the trees.
TEST(GradientNorm, ARanksPartDoesNotGrowWithTheWorld) {
  constexpr int64_t kChunksOfRank = 600;
  for (const int ranks : {64, 512, 4096}) {
    const int64_t elements = kChunksOfRank * ranks * Kernels::kChunk;
    const NormWorld world({{.name = "a", .shape = {elements / 3 + 5}},
                           {.name = "b", .shape = {elements / 2}},
                           {.name = "c", .shape = {elements / 6}}},
                          ranks, 32 * ranks);
    const int depth = std::bit_width(static_cast<uint64_t>(elements / Kernels::kChunk));
    for (const int rank : {0, 1, ranks / 2 + 3, ranks - 1}) {
      const NormPlan plan = world.plan(rank);
      size_t messages = 0;
      for (const NormPlan::Round& round : plan.rounds)
        messages += round.sends.size() + round.receives.size();
      EXPECT_LE(plan.num_slots, 40 * depth) << rank << " of " << ranks;
      EXPECT_LE(messages, static_cast<size_t>(5 * depth)) << rank << " of " << ranks;
    }
  }
}

}  // namespace
}  // namespace leasehold
