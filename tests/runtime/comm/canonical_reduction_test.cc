// Every rank's shard must have the bits of the plain tree over lanes, whatever the ranks, the
// exchange and the delays.
#include "runtime/comm/canonical_reduction.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <gtest/gtest.h>
#include <thread>

#include "collectives/threads.h"
#include "runtime/base/random.h"
#include "runtime/device/cpu_stream.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {
namespace {

struct Setting {
  int ranks = 1;
  int64_t lanes = 1;
  std::vector<int64_t> shard_elements = {5, 3, 7, 1, 6};  // of each bucket
  Exchange exchange = Exchange::kAutomatic;
  bool asynchronous = false;
  uint64_t delay_seed = 0;  // of streams and of the communicator
  std::vector<ThreadFault> faults = {};
  double timeout_s = 30;
};

std::ostream& operator<<(std::ostream& out, const Setting& setting) {
  return out << setting.lanes << " lanes on " << setting.ranks << " ranks, exchange "
             << static_cast<int>(setting.exchange)
             << (setting.asynchronous ? ", asynchronous" : ", inline") << ", delay seed "
             << setting.delay_seed;
}

// Values of all 53 bits, so that another order of summation shows.
std::vector<double> lane_bucket(int64_t lane, size_t bucket, int64_t num_elements) {
  const RandomSite site = RandomSite::make(99, "lane", bucket, static_cast<uint64_t>(lane));
  std::vector<double> values;
  for (int64_t i = 0; i < num_elements; ++i) {
    values.push_back(site.normal(static_cast<uint64_t>(i)) * 3.14159265358979);
  }
  return values;
}

// The definition: left + right, a missing right child passes the left through.
std::vector<double> plain_tree(const TreeNode& node, int64_t num_lanes, size_t bucket,
                               int64_t num_elements) {
  if (node.level == 0) return lane_bucket(node.index, bucket, num_elements);
  std::vector<double> sum =
      plain_tree({node.level - 1, 2 * node.index}, num_lanes, bucket, num_elements);
  const TreeNode right{node.level - 1, 2 * node.index + 1};
  if (first_leaf(right) < num_lanes) {
    const std::vector<double> other = plain_tree(right, num_lanes, bucket, num_elements);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
  }
  return sum;
}

std::unique_ptr<CpuDevice> make_device(const Setting& setting, int rank) {
  CpuDeviceOptions options;
  options.asynchronous = setting.asynchronous;
  options.delay_seed =
      setting.delay_seed == 0 ? 0 : setting.delay_seed * 100 + static_cast<uint64_t>(rank);
  return CpuDevice::create(options);
}

ThreadWorldOptions world_options(const Setting& setting) {
  return {
      .timeout_s = setting.timeout_s, .delay_seed = setting.delay_seed, .faults = setting.faults};
}

bool same_bits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

// One rank's memory. It outlives the group: when a rank is lost, what it sent last may still be on
// its way.
struct Buffers {
  std::unique_ptr<CpuDevice> device;
  std::unique_ptr<Arena> arena;
  std::vector<std::vector<std::vector<double>>> roots;  // by bucket, by root
  std::vector<std::vector<double>> shards;              // by bucket
};

// One rank's part: reduction and buckets, made as the trainer makes them.
class Rank {
 public:
  Rank(const Setting& setting, Communicator& group, Buffers& buffers)
      : setting_(setting),
        group_(group),
        buffers_(buffers),
        kernels_(create_reference_kernels()),
        stream_(make_stream()),
        reduction_(make_reduction(*buffers_.arena)) {
    for (size_t b = 0; b < setting_.shard_elements.size(); ++b) add_bucket(b);
  }

  Stream& stream() { return *stream_; }
  CanonicalReduction& reduction() { return reduction_; }
  size_t num_buckets() const { return buffers_.shards.size(); }

  void reduce(size_t bucket) {
    const int64_t n = setting_.shard_elements[bucket];
    std::vector<Tensor> roots;
    for (auto& values : buffers_.roots[bucket])
      roots.push_back({values.data(), DType::kF64, {group_.size() * n}});
    reduction_.reduce(roots, {buffers_.shards[bucket].data(), DType::kF64, {n}}, *stream_);
  }

  void expect_bits_of_the_tree() const {
    for (size_t b = 0; b < buffers_.shards.size(); ++b) {
      const int64_t n = setting_.shard_elements[b];
      const std::vector<double> sum =
          plain_tree({root_level(setting_.lanes), 0}, setting_.lanes, b, group_.size() * n);
      const auto begin = sum.begin() + group_.rank() * n;
      EXPECT_TRUE(std::equal(begin, begin + n, buffers_.shards[b].begin(), same_bits))
          << setting_ << ": rank " << group_.rank() << ", bucket " << b;
    }
  }

 private:
  CanonicalReduction make_reduction(Arena& arena) {
    const auto lanes = assign_lanes(setting_.lanes, group_.size()).value();
    const int64_t most =
        *std::max_element(setting_.shard_elements.begin(), setting_.shard_elements.end());
    return {group_, *kernels_, lanes, setting_.lanes, most, arena, setting_.exchange};
  }

  // And the arena, of exactly the size that a measuring one counts.
  std::unique_ptr<Stream> make_stream() {
    buffers_.device = make_device(setting_, group_.rank());
    Arena measuring = Arena::measuring("reduction");
    make_reduction(measuring);
    buffers_.arena = std::make_unique<Arena>(
        Arena::create(*buffers_.device, "reduction", measuring.used_bytes()).value());
    return buffers_.device->create_stream("communication").value();
  }

  void add_bucket(size_t bucket) {
    const int64_t n = setting_.shard_elements[bucket];
    auto& roots = buffers_.roots.emplace_back();
    for (const TreeNode& node : reduction_.own_roots()) {
      roots.push_back(plain_tree(node, setting_.lanes, bucket, group_.size() * n));
    }
    buffers_.shards.emplace_back(static_cast<size_t>(n), std::nan(""));
  }

  const Setting& setting_;
  Communicator& group_;
  Buffers& buffers_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<Stream> stream_;
  CanonicalReduction reduction_;
};

void on_every_rank(const Setting& setting, const std::function<void(Rank&, int rank)>& body) {
  std::vector<Buffers> buffers(static_cast<size_t>(setting.ranks));
  run_ranks(setting.ranks, world_options(setting), [&](Communicator& group) {
    Rank rank(setting, group, buffers[static_cast<size_t>(group.rank())]);
    body(rank, group.rank());
  });
}

void reduce_and_compare(const Setting& setting) {
  on_every_rank(setting, [&](Rank& rank, int) {
    for (size_t b = 0; b < rank.num_buckets(); ++b) rank.reduce(b);
    rank.reduction().flush(rank.stream());
    const Status status = rank.stream().synchronize(Deadline::after_s(30));
    ASSERT_TRUE(status.ok()) << setting << ": " << status.message();
    rank.expect_bits_of_the_tree();
  });
}

bool can_use_halving(int ranks, int64_t lanes) {
  const auto runs = assign_lanes(lanes, ranks).value();
  if (ranks < 2 || !std::has_single_bit(static_cast<unsigned>(ranks))) return false;
  for (int r = 0; r < ranks; ++r) {
    const auto nodes =
        cover(runs[static_cast<size_t>(r)].begin, runs[static_cast<size_t>(r)].end, lanes);
    if (nodes.size() != 1 || nodes[0].index != r ||
        nodes[0].level != root_level(lanes) - root_level(ranks))
      return false;
  }
  return true;
}

void every_size(const Setting& base, int most_ranks, int64_t most_lanes) {
  for (int ranks = 1; ranks <= most_ranks; ++ranks) {
    for (int64_t lanes = ranks; lanes <= most_lanes && !testing::Test::HasFailure(); ++lanes) {
      Setting setting = base;
      setting.ranks = ranks;
      setting.lanes = lanes;
      setting.exchange = Exchange::kDirect;
      reduce_and_compare(setting);
      if (!can_use_halving(ranks, lanes)) continue;
      setting.exchange = Exchange::kHalving;
      reduce_and_compare(setting);
    }
  }
}

TEST(CanonicalReduction, TheOrderOfSummationShowsInTheseValues) {
  const std::vector<double> tree = plain_tree({3, 0}, 8, 0, 50);
  std::vector<double> left_to_right(50);
  for (int64_t lane = 0; lane < 8; ++lane) {
    const std::vector<double> values = lane_bucket(lane, 0, 50);
    for (size_t i = 0; i < 50; ++i) left_to_right[i] += values[i];
  }
  int different = 0;
  for (size_t i = 0; i < 50; ++i) different += tree[i] != left_to_right[i];
  EXPECT_GT(different, 20);
}

TEST(CanonicalReduction, HasTheBitsOfTheTreeOnInlineStreams) { every_size({}, 9, 17); }

TEST(CanonicalReduction, HasTheBitsOfTheTreeOnAsynchronousStreams) {
  every_size({.asynchronous = true}, 9, 17);
}

TEST(CanonicalReduction, HasTheBitsOfTheTreeWhenEverythingIsLate) {
  for (const uint64_t seed : {1, 2}) {
    every_size({.delay_seed = seed}, 5, 9);
    every_size({.asynchronous = true, .delay_seed = seed}, 5, 9);
  }
}

TEST(CanonicalReduction, ManyRanksExchangeEitherWay) {
  for (const Exchange exchange : {Exchange::kAutomatic, Exchange::kDirect, Exchange::kHalving}) {
    reduce_and_compare({.ranks = 16, .lanes = 16, .exchange = exchange});
    reduce_and_compare(
        {.ranks = 16, .lanes = 31, .exchange = exchange, .asynchronous = true, .delay_seed = 3});
    reduce_and_compare(
        {.ranks = 8, .lanes = 64, .exchange = exchange, .asynchronous = true, .delay_seed = 4});
  }
}

TEST(CanonicalReduction, OneBucketAndNoneAreFlushed) {
  reduce_and_compare({.ranks = 3, .lanes = 7, .shard_elements = {4}});
  reduce_and_compare({.ranks = 2, .lanes = 2, .shard_elements = {4, 4}});
  reduce_and_compare({.ranks = 2, .lanes = 2, .shard_elements = {2, 0, 3}});
}

TEST(CanonicalReduction, BuffersAreAsLargeAsDocumented) {
  run_ranks(8, {}, [&](Communicator& group) {
    const std::unique_ptr<Kernels> kernels = create_reference_kernels();
    const auto lanes = assign_lanes(8, 8).value();
    const auto measure = [&](Exchange exchange) {
      Arena arena = Arena::measuring("reduction");
      const CanonicalReduction reduction(group, *kernels, lanes, 8, 4096, arena, exchange);
      return arena.used_bytes() / (2 * 4096 * 8);  // shards a bucket
    };
    EXPECT_EQ(measure(Exchange::kDirect), 7);
    EXPECT_EQ(measure(Exchange::kHalving), 8);
    EXPECT_EQ(measure(Exchange::kAutomatic), 8);
  });
}

TEST(CanonicalReduction, HalvingIsRefusedWhereTheLanesDoNotAllowIt) {
  run_ranks(4, {}, [&](Communicator& group) {
    const std::unique_ptr<Kernels> kernels = create_reference_kernels();
    Arena arena = Arena::measuring("reduction");
    const auto lanes = assign_lanes(6, 4).value();
    EXPECT_THROW(CanonicalReduction(group, *kernels, lanes, 6, 8, arena, Exchange::kHalving),
                 StatusError);
    EXPECT_THROW(CanonicalReduction(group, *kernels, {{0, 6}}, 6, 8, arena), StatusError);
    EXPECT_THROW(CanonicalReduction(group, *kernels, lanes, 7, 8, arena), StatusError);
    EXPECT_THROW(CanonicalReduction(group, *kernels, {{0, 1}, {2, 3}, {3, 4}, {4, 6}}, 6, 8, arena),
                 StatusError);
  });
}

TEST(CanonicalReduction, OfOneRankMayWriteIntoItsRoot) {
  run_ranks(1, {}, [&](Communicator& group) {
    const std::unique_ptr<CpuDevice> device = CpuDevice::create({});
    const auto stream = device->create_stream("s").value();
    const std::unique_ptr<Kernels> kernels = create_reference_kernels();
    Arena arena = Arena::measuring("reduction");
    CanonicalReduction reduction(group, *kernels, {{0, 4}}, 4, 3, arena);
    EXPECT_EQ(arena.used_bytes(), 0);
    std::vector<double> values = {1, 2, 3};
    const Tensor root(values.data(), DType::kF64, {3});
    reduction.reduce({&root, 1}, root, *stream);
    reduction.flush(*stream);
    EXPECT_EQ(values, (std::vector<double>{1, 2, 3}));
    std::vector<double> shard(3);
    reduction.reduce({&root, 1}, Tensor(shard.data(), DType::kF64, {3}), *stream);
    reduction.flush(*stream);
    EXPECT_EQ(shard, values);
  });
}

TEST(CanonicalReduction, WrongTensorsAreRefused) {
  run_ranks(2, {}, [&](Communicator& group) {
    const std::unique_ptr<CpuDevice> device = CpuDevice::create({});
    const auto stream = device->create_stream("s").value();
    const std::unique_ptr<Kernels> kernels = create_reference_kernels();
    Arena arena = Arena::create(*device, "reduction", 4096).value();
    CanonicalReduction reduction(group, *kernels, {{0, 1}, {1, 2}}, 2, 4, arena);
    std::vector<double> values(20);
    const auto at = [&](int64_t begin, int64_t count) {
      return Tensor(&values[static_cast<size_t>(begin)], DType::kF64, {count});
    };
    const auto reduce = [&](std::vector<Tensor> roots, Tensor shard) {
      reduction.reduce(roots, shard, *stream);
    };
    EXPECT_THROW(reduce({at(0, 10)}, at(10, 5)), StatusError);  // a longer shard than was announced
    EXPECT_THROW(reduce({at(0, 7)}, at(10, 4)), StatusError);   // a root of another size
    EXPECT_THROW(reduce({at(0, 8), at(8, 8)}, at(16, 4)), StatusError);  // two roots for one node
    EXPECT_THROW(reduce({at(0, 8)}, at(4, 4)), StatusError);             // a shard inside the root
    EXPECT_THROW(reduce({at(0, 8)}, Tensor(&values[10], DType::kF32, {4})), StatusError);
  });
}

// Waits for the flag, or for long; true when it was set.
bool wait_for(const std::atomic<bool>& flag) {
  const Deadline deadline = Deadline::after_s(10);
  while (!flag && !deadline.passed()) std::this_thread::yield();
  return flag;
}

TEST(CanonicalReduction, OnlyEnqueuesOnAsynchronousStreams) {
  for (const Exchange exchange : {Exchange::kDirect, Exchange::kHalving}) {
    const Setting setting{.ranks = 4, .lanes = 4, .exchange = exchange, .asynchronous = true};
    std::atomic<int> enqueued{0};
    std::atomic<bool> all_enqueued{false};
    on_every_rank(setting, [&](Rank& rank, int) {
      // The stream is held up until every rank has enqueued everything.
      CpuStream::from(rank.stream()).enqueue([flag = &all_enqueued] {
        if (!wait_for(*flag)) throw StatusError(error(Code::kInternal, "the host was blocked"));
      });
      for (size_t b = 0; b < rank.num_buckets(); ++b) rank.reduce(b);
      rank.reduction().flush(rank.stream());
      if (++enqueued == setting.ranks) all_enqueued = true;
      const Status status = rank.stream().synchronize(Deadline::after_s(30));
      ASSERT_TRUE(status.ok()) << status.message();
      rank.expect_bits_of_the_tree();
    });
  }
}

TEST(CanonicalReduction, TwoBucketsAreInFlightOnInlineStreams) {
  for (const Exchange exchange : {Exchange::kDirect, Exchange::kHalving}) {
    const Setting setting{.ranks = 2, .lanes = 2, .exchange = exchange};
    std::atomic<bool> two_in_flight{false};
    on_every_rank(setting, [&](Rank& rank, int number) {
      // Rank 1 comes only after rank 0 has begun two buckets; would rank 0 wait for either, it
      // would not come back.
      const bool begun = number == 0 || wait_for(two_in_flight);
      EXPECT_TRUE(begun) << "rank 0 waits for its first or second bucket";
      for (size_t b = 0; b < rank.num_buckets(); ++b) {
        rank.reduce(b);
        if (number == 0 && b == 1) two_in_flight = true;
      }
      rank.reduction().flush(rank.stream());
      rank.expect_bits_of_the_tree();
    });
  }
}

// In every operation of the first buckets: the others' streams fail, naming the rank, and nobody
// hangs.
TEST(CanonicalReduction, ALostRankFailsTheOthersStreams) {
  for (const Exchange exchange : {Exchange::kDirect, Exchange::kHalving}) {
    for (const bool asynchronous : {false, true}) {
      for (int64_t operation = 0; operation < 4; ++operation) {
        const Setting setting{.ranks = 4,
                              .lanes = 4,
                              .exchange = exchange,
                              .asynchronous = asynchronous,
                              .faults = {{ThreadFault::Kind::kDie, 2, operation}}};
        std::atomic<int> failed{0};
        on_every_rank(setting, [&](Rank& rank, int) {
          for (size_t b = 0; b < rank.num_buckets(); ++b) rank.reduce(b);
          rank.reduction().flush(rank.stream());
          const Status status = rank.stream().synchronize(Deadline::after_s(30));
          EXPECT_EQ(status.code(), Code::kUnavailable) << setting << ", operation " << operation;
          EXPECT_NE(status.message().find("rank 2"), std::string::npos) << status.message();
          ++failed;
        });
        EXPECT_EQ(failed, 3) << setting << ", operation " << operation;
      }
    }
  }
}

}  // namespace
}  // namespace leasehold
