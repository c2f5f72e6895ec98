#include "tests/collectives/conformance.h"

#include <chrono>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "runtime/comm/host_exchange.h"
#include "runtime/comm/mesh.h"
#include "runtime/device/cpu_stream.h"
#include "tests/collectives/counting_new.h"

namespace leasehold {

namespace {

constexpr double kLimitS = 60;

template <typename T>
Tensor view(std::vector<T>& values) {
  return Tensor(values.data(), DTypeOf<T>::value, {static_cast<int64_t>(values.size())});
}
template <typename T>
Tensor view(std::vector<T>& values, int64_t begin, int64_t count) {
  return view(values).flat(begin, count);
}

std::unique_ptr<Stream> make_stream(CpuDevice& device, const char* name) {
  return std::move(device.create_stream(name)).value();
}

void expect_done(const Work& work) {
  const Status status = work.wait(Deadline::after_s(kLimitS));
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(work.ready());
}

// Small integers, so that every sum is exact in every dtype.
template <typename T>
T element(int rank, int64_t i) {
  return static_cast<T>((rank + 1) * (i % 7 + 1));
}

template <typename T>
std::vector<T> elements(int rank, int64_t n, int64_t begin = 0) {
  std::vector<T> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = element<T>(rank, begin + i);
  return values;
}

template <typename T>
std::vector<T> reduced(int size, ReduceOp op, int64_t n) {
  std::vector<T> values = elements<T>(0, n);
  for (int r = 1; r < size; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      T& value = values[static_cast<size_t>(i)];
      const T other = element<T>(r, i);
      if (op == ReduceOp::kSum) value = static_cast<T>(value + other);
      if (op == ReduceOp::kMax) value = std::max(value, other);
      if (op == ReduceOp::kMin) value = std::min(value, other);
    }
  }
  return values;
}

// Sizes around what implementations switch at: nothing, one element, odd, a segment, several
// segments.
constexpr int64_t kSizes[] = {0, 1, 5, 1000, 20011};

template <typename T>
void all_reduce_of(Communicator& group, Stream& stream) {
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
    for (const int64_t n : kSizes) {
      std::vector<T> data = elements<T>(group.rank(), n);
      expect_done(group.all_reduce(view(data), op, stream));
      EXPECT_EQ(data, reduced<T>(group.size(), op, n)) << n;
    }
  }
}

void all_reduce(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  all_reduce_of<float>(group, *stream);
  all_reduce_of<double>(group, *stream);
  all_reduce_of<int32_t>(group, *stream);
}

void all_reduce_keeps_nan(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
    for (int bad = 0; bad < group.size(); ++bad) {
      std::vector<double> data(3, group.rank());
      if (group.rank() == bad) data[1] = std::numeric_limits<double>::quiet_NaN();
      expect_done(group.all_reduce(view(data), op, *stream));
      EXPECT_FALSE(std::isnan(data[0]));
      EXPECT_TRUE(std::isnan(data[1])) << bad;
      EXPECT_FALSE(std::isnan(data[2]));
    }
  }
}

template <typename T>
void all_gather_of(Communicator& group, Stream& stream, bool in_place) {
  for (const int64_t n : kSizes) {
    std::vector<T> expected;
    for (int r = 0; r < group.size(); ++r) {
      const std::vector<T> part = elements<T>(r, n);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    std::vector<T> input = elements<T>(group.rank(), n), output(expected.size());
    if (in_place) std::copy(input.begin(), input.end(), output.begin() + group.rank() * n);
    expect_done(group.all_gather(in_place ? view(output, group.rank() * n, n) : view(input),
                                 view(output), stream));
    EXPECT_EQ(output, expected) << n;
    EXPECT_EQ(input, elements<T>(group.rank(), n));
  }
}

void all_gather(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  for (const bool in_place : {false, true}) {
    all_gather_of<float>(group, *stream, in_place);
    all_gather_of<uint8_t>(group, *stream, in_place);
  }
}

template <typename T>
void reduce_scatter_of(Communicator& group, Stream& stream, bool in_place, ReduceOp op) {
  for (const int64_t n : kSizes) {
    const std::vector<T> whole = elements<T>(group.rank(), n * group.size());
    const std::vector<T> sums = reduced<T>(group.size(), op, n * group.size());
    const std::vector<T> expected(sums.begin() + group.rank() * n,
                                  sums.begin() + (group.rank() + 1) * n);
    std::vector<T> input = whole, output(static_cast<size_t>(n));
    const Tensor target = in_place ? view(input, group.rank() * n, n) : view(output);
    expect_done(group.reduce_scatter(view(input), target, op, stream));
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), static_cast<const T*>(target.data())))
        << n;
    EXPECT_TRUE(in_place || input == whole) << n;
  }
}

void reduce_scatter(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  for (const bool in_place : {false, true}) {
    reduce_scatter_of<float>(group, *stream, in_place, ReduceOp::kSum);
    reduce_scatter_of<double>(group, *stream, in_place, ReduceOp::kMax);
    reduce_scatter_of<int32_t>(group, *stream, in_place, ReduceOp::kMin);
  }
}

// Rank r sends (r * 3 + p * 5) % 11 * scale elements to rank p: uneven, some nothing, some absent.
void all_to_all(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  const int self = group.rank();
  for (const int64_t scale : {1, 137, 9001}) {
    const auto count = [&](int from, int to) { return (from * 3 + to * 5) % 11 * scale; };
    std::vector<std::vector<float>> sent, received;
    for (int p = 0; p < group.size(); ++p) {
      sent.push_back(elements<float>(self, count(self, p), p));
      received.emplace_back(static_cast<size_t>(count(p, self)));
    }
    std::vector<Tensor> send, recv;
    for (int p = 0; p < group.size(); ++p) {
      const auto i = static_cast<size_t>(p);
      send.push_back(sent[i].empty() ? Tensor() : view(sent[i]));
      recv.push_back(received[i].empty() ? Tensor() : view(received[i]));
    }
    const Work work = group.all_to_all(send, recv, *stream);
    send.clear();
    recv.clear();
    expect_done(work);
    for (int p = 0; p < group.size(); ++p) {
      EXPECT_EQ(received[static_cast<size_t>(p)], elements<float>(p, count(p, self), self))
          << p << " to " << self;
    }
  }
}

void broadcast(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  for (int root = 0; root < group.size(); ++root) {
    for (const int64_t n : kSizes) {
      std::vector<float> data = elements<float>(group.rank(), n);
      expect_done(group.broadcast(view(data), root, *stream));
      EXPECT_EQ(data, elements<float>(root, n)) << n << " from " << root;
    }
  }
}

// Everyone sends several messages of different sizes to everyone else before anyone waits; receives
// are issued first on odd ranks, sends on even ones.
void point_to_point(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  constexpr int64_t kMessages[] = {3, 0, 70001, 1, 4096};
  std::vector<Work> works;
  std::vector<std::vector<int32_t>> sent, received;
  for (int p = 0; p < group.size(); ++p) {
    for (const int64_t n : kMessages) {
      sent.push_back(elements<int32_t>(group.rank(), n, p + n));
      received.emplace_back(static_cast<size_t>(n));
    }
  }
  const auto issue = [&](bool sends) {
    size_t message = 0;
    for (int p = 0; p < group.size(); ++p) {
      for (size_t m = 0; m < std::size(kMessages); ++m, ++message) {
        if (p == group.rank()) continue;
        works.push_back(sends ? group.send(view(sent[message]), p, *stream)
                              : group.receive(view(received[message]), p, *stream));
      }
    }
  };
  issue(group.rank() % 2 == 0);
  issue(group.rank() % 2 != 0);
  for (const Work& work : works) expect_done(work);
  size_t message = 0;
  for (int p = 0; p < group.size(); ++p) {
    for (const int64_t n : kMessages) {
      const bool other = p != group.rank();
      EXPECT_TRUE(!other || received[message] == elements<int32_t>(p, n, group.rank() + n)) << p;
      ++message;
    }
  }
}

void several_in_flight(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  const auto other_stream = make_stream(device, "other");
  constexpr int64_t kCount = 12;
  std::vector<std::vector<float>> sums, shards;
  std::vector<float> gathered(static_cast<size_t>(group.size() * kCount));
  std::vector<Work> works;
  for (int64_t i = 0; i < kCount; ++i) {
    sums.push_back(elements<float>(group.rank(), 1 + i * 4001));
    shards.push_back(elements<float>(group.rank(), group.size() * (i + 1)));
  }
  std::vector<float> mine(kCount, static_cast<float>(group.rank()));
  for (int64_t i = 0; i < kCount; ++i) {
    const auto k = static_cast<size_t>(i);
    works.push_back(group.all_reduce(view(sums[k]), ReduceOp::kSum, *stream));
    works.push_back(group.reduce_scatter(view(shards[k]),
                                         view(shards[k], group.rank() * (i + 1), i + 1),
                                         ReduceOp::kSum, i % 2 == 0 ? *stream : *other_stream));
    if (i == 5) works.push_back(group.all_gather(view(mine), view(gathered), *other_stream));
  }
  for (const Work& work : works) expect_done(work);
  for (int64_t i = 0; i < kCount; ++i) {
    const auto k = static_cast<size_t>(i);
    EXPECT_EQ(sums[k], reduced<float>(group.size(), ReduceOp::kSum, 1 + i * 4001));
    const std::vector<float> whole =
        reduced<float>(group.size(), ReduceOp::kSum, group.size() * (i + 1));
    for (int64_t j = 0; j <= i; ++j) {
      const auto own = static_cast<size_t>(group.rank() * (i + 1) + j);
      EXPECT_EQ(shards[k][own], whole[own]);
    }
  }
  for (int r = 0; r < group.size(); ++r) {
    EXPECT_EQ(gathered[static_cast<size_t>(r * kCount)], static_cast<float>(r));
  }
}

// Values travel computation -> communication -> computation by streams alone; the host looks only
// at the end.
void order_on_streams(Communicator& group, CpuDevice& device) {
  const auto compute = make_stream(device, "compute");
  const auto communication = make_stream(device, "communication");
  const auto event = std::move(device.create_event()).value();
  constexpr int kRounds = 20;
  const int64_t n = 513;
  std::vector<double> data(static_cast<size_t>(n), 0.0);
  double* values = data.data();
  const int rank = group.rank();
  for (int round = 0; round < kRounds; ++round) {
    CpuStream::from(*compute).enqueue([values, rank, round] {
      for (int64_t i = 0; i < n; ++i) values[i] = values[i] / 2 + rank + round;
    });
    compute->record(*event);
    communication->wait(*event);
    group.all_reduce(view(data), ReduceOp::kSum, *communication).then(*compute);
  }
  const Status status = compute->synchronize(Deadline::after_s(kLimitS));
  ASSERT_TRUE(status.ok()) << status.message();
  double expected = 0;
  const int size = group.size();
  for (int round = 0; round < kRounds; ++round) {
    expected = size * (expected / 2 + round) + size * (size - 1) / 2.0;
  }
  for (const double value : data) EXPECT_NEAR(value, expected, 1e-9 * expected);
}

// A rank that comes late delays the others' operation, and nobody sees it done before.
void waits_for_the_last(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  const int last = group.size() - 1;
  std::vector<float> data = {1};
  if (group.rank() == last) std::this_thread::sleep_for(std::chrono::milliseconds(30));
  const auto begin = std::chrono::steady_clock::now();
  const Work work = group.all_reduce(view(data), ReduceOp::kSum, *stream);
  const Status early = work.wait(Deadline::after_s(0));
  EXPECT_TRUE(early.ok() || early.code() == Code::kUnavailable) << early.message();
  expect_done(work);
  EXPECT_EQ(data[0], static_cast<float>(group.size()));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
            kLimitS / 2);
  EXPECT_TRUE(group.health().ok());
}

void split(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  // Even and odd ranks, in reverse order.
  auto half = group.split(group.rank() % 2, -group.rank(), "half");
  ASSERT_TRUE(half.ok()) << half.status().message();
  Communicator& part = **half;
  EXPECT_EQ(part.name(), "half");
  const int members = (group.size() + (group.rank() % 2 == 0 ? 1 : 0)) / 2;
  EXPECT_EQ(part.size(), members);
  EXPECT_EQ(part.rank(), members - 1 - group.rank() / 2);
  std::vector<int32_t> mine = {group.rank()}, all(static_cast<size_t>(part.size()));
  expect_done(part.all_gather(view(mine), view(all), *stream));
  for (int r = 0; r < part.size(); ++r) {
    EXPECT_EQ(all[static_cast<size_t>(r)], 2 * (members - 1 - r) + group.rank() % 2);
  }
  // Operations of two groups do not meet each other, also when they are under way at once.
  std::vector<double> whole_sum = {1}, part_sum = {1};
  const Work whole = group.all_reduce(view(whole_sum), ReduceOp::kSum, *stream);
  const Work partial = part.all_reduce(view(part_sum), ReduceOp::kSum, *stream);
  expect_done(partial);
  expect_done(whole);
  EXPECT_EQ(whole_sum[0], group.size());
  EXPECT_EQ(part_sum[0], part.size());

  auto nested = part.split(0, part.rank(), "nested");
  ASSERT_TRUE(nested.ok()) << nested.status().message();
  EXPECT_EQ((*nested)->size(), part.size());
  EXPECT_EQ((*nested)->rank(), part.rank());
  auto alone = group.split(group.rank(), 0, "alone");
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ((*alone)->size(), 1);
  std::vector<double> own = {7};
  expect_done((*alone)->all_reduce(view(own), ReduceOp::kSum, *stream));
  EXPECT_EQ(own[0], 7);
  auto first_only = group.split(group.rank() == 0 ? 0 : -1, 0, "first");
  ASSERT_TRUE(first_only.ok());
  EXPECT_EQ(*first_only != nullptr, group.rank() == 0);
}

// Also when a peer's abort was heard of before one's own.
void expect_given_up(const Status& status) {
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("given up by the test"), std::string::npos) << status.message();
}

void abort_of_a_part(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  auto part = group.split(0, group.rank(), "doomed");
  ASSERT_TRUE(part.ok());
  // The last rank never comes; the others give up with what is pending.
  std::vector<float> data = {1, 2, 3};
  std::vector<Work> works;
  const bool comes = group.rank() != group.size() - 1 || group.size() == 1;
  if (comes) works.push_back((*part)->all_reduce(view(data), ReduceOp::kSum, *stream));
  (*part)->abort(Status(Code::kUnavailable, "given up by the test"));
  (*part)->abort(Status(Code::kInternal, "a second reason is not kept"));
  expect_given_up((*part)->health());
  for (const Work& work : works) {
    const Status status = work.wait(Deadline::after_s(kLimitS));
    if (group.size() > 1) expect_given_up(status);
  }
  const Work later = (*part)->all_gather(view(data, 0, 0), view(data, 0, 0), *stream);
  expect_given_up(later.wait(Deadline::after_s(kLimitS)));
  // The failure fails a stream that waits for it, and nothing hangs behind it.
  const auto compute = make_stream(device, "compute");
  later.then(*compute);
  expect_given_up(compute->synchronize(Deadline::after_s(kLimitS)));
  // The group that it was split from goes on.
  std::vector<float> one = {1};
  expect_done(group.all_reduce(view(one), ReduceOp::kSum, *stream));
  EXPECT_EQ(one[0], static_cast<float>(group.size()));
}

void host_exchange(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "host");
  const auto deadline = [] { return Deadline::after_s(kLimitS); };
  const auto text = [](int rank, size_t scale) {
    return std::string(static_cast<size_t>(rank) * scale, static_cast<char>('a' + rank));
  };
  for (const size_t scale : {size_t{0}, size_t{3}, size_t{700000}}) {
    const auto all = all_gather_bytes(group, *stream, text(group.rank(), scale), deadline());
    ASSERT_TRUE(all.ok()) << all.status().message();
    for (int r = 0; r < group.size(); ++r)
      EXPECT_EQ((*all)[static_cast<size_t>(r)], text(r, scale));
    const int root = group.size() - 1;
    const auto from_root =
        broadcast_bytes(group, *stream, text(group.rank(), scale), root, deadline());
    ASSERT_TRUE(from_root.ok());
    EXPECT_EQ(*from_root, text(root, scale));
  }
  EXPECT_TRUE(agree(group, *stream, ok_status(), deadline()).ok());
  // The last two ranks fail; the lower one's failure is everybody's.
  const int failing = std::max(group.size() - 2, 0);
  const Status mine =
      group.rank() < failing ? ok_status() : error(Code::kStorage, "disk {} is full", group.rank());
  const Status agreed = agree(group, *stream, mine, deadline());
  EXPECT_EQ(agreed.code(), Code::kStorage);
  const std::string message = fmt::format("disk {} is full", failing);
  EXPECT_EQ(agreed.message(),
            group.rank() == failing ? message : fmt::format("rank {}: {}", failing, message));
  EXPECT_TRUE(barrier(group, *stream, deadline()).ok());
}

void mesh(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  const int tensor = group.size() % 2 == 0 ? 2 : 1;
  auto made = Mesh::create(group, {.data = group.size() / tensor, .pipeline = 1, .tensor = tensor});
  ASSERT_TRUE(made.ok()) << made.status().message();
  for (const Axis axis : {Axis::kData, Axis::kPipeline, Axis::kTensor}) {
    Communicator& along = made->group(axis);
    EXPECT_EQ(along.size(), made->shape().size(axis));
    std::vector<int32_t> sum = {1};
    expect_done(along.all_reduce(view(sum), ReduceOp::kSum, *stream));
    EXPECT_EQ(sum[0], along.size());
  }
  EXPECT_EQ(made->group(Axis::kTensor).rank(), group.rank() % tensor);
  EXPECT_FALSE(Mesh::create(group, {.data = group.size() + 1}).ok());
}

// Handles may be dropped, or outlive later operations.
void handles(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  std::vector<float> kept_data = {1}, data = {0};
  const Work kept = group.all_reduce(view(kept_data), ReduceOp::kSum, *stream);
  for (int i = 0; i < 50; ++i) {
    data[0] = 1;
    (void)group.all_reduce(view(data), ReduceOp::kSum, *stream);
    expect_done(group.broadcast(view(data), 0, *stream));
  }
  expect_done(kept);
  EXPECT_EQ(kept_data[0], static_cast<float>(group.size()));
  expect_done(Work());
}

// Once warm, issuing and waiting allocates nothing, on any rank and any thread of the process.
void steady_state_allocates_nothing(Communicator& group, CpuDevice& device) {
  const auto stream = make_stream(device, "communication");
  const auto compute = make_stream(device, "compute");
  const auto size = static_cast<size_t>(group.size());
  const int64_t part = 5000;
  std::vector<float> data(size * part), other(size * part), own(part);
  std::vector<Tensor> sends, receives;
  for (int64_t p = 0; p < group.size(); ++p) {
    sends.push_back(view(data, p * part, part));
    receives.push_back(view(other, p * part, part));
  }
  const int next = (group.rank() + 1) % group.size(),
            previous = (group.rank() + group.size() - 1) % group.size();
  const auto wait_all = [](std::initializer_list<Work> works) {
    bool ok = true;
    for (const Work& work : works) ok &= work.wait(Deadline::after_s(kLimitS)).ok();
    return ok;
  };
  const auto round = [&] {
    const Work sum = group.all_reduce(view(data), ReduceOp::kMax, *stream);
    sum.then(*compute);
    bool ok = wait_all({sum, group.reduce_scatter(view(data), view(own), ReduceOp::kMax, *stream)});
    ok &= wait_all({group.all_gather(view(own), view(other), *stream),
                    group.broadcast(view(data), 0, *stream)});
    ok &= wait_all({group.all_to_all(sends, receives, *stream)});
    if (group.size() > 1) {
      ok &= wait_all({group.send(view(own), next, *stream),
                      group.receive(view(other, 0, part), previous, *stream)});
    }
    return ok && compute->synchronize(Deadline::after_s(kLimitS)).ok();
  };
  // Barriers around, so that no rank of the same process is elsewhere meanwhile.
  std::vector<float> one = {1};
  const auto meet = [&] {
    return wait_all({group.all_reduce(view(one), ReduceOp::kMax, *stream)});
  };
  bool ok = true;
  constexpr int kWarmRounds = 20, kRounds = 20;
  for (int i = 0; i < kWarmRounds; ++i) ok &= round() && meet();
  const int64_t before = num_allocations();
  for (int i = 0; i < kRounds; ++i) ok &= round() && meet();
  const int64_t allocated = num_allocations() - before;
  ok &= meet();
  EXPECT_TRUE(ok);
  EXPECT_TRUE(allocated == 0 || !kCountsAllocations)
      << allocated << " over " << kRounds << " rounds";
}

constexpr ConformanceCase kCases[] = {
    {"all_reduce", all_reduce},
    {"all_reduce_keeps_nan", all_reduce_keeps_nan},
    {"all_gather", all_gather},
    {"reduce_scatter", reduce_scatter},
    {"all_to_all", all_to_all},
    {"broadcast", broadcast},
    {"point_to_point", point_to_point},
    {"several_in_flight", several_in_flight},
    {"order_on_streams", order_on_streams},
    {"waits_for_the_last", waits_for_the_last},
    {"split", split},
    {"abort_of_a_part", abort_of_a_part},
    {"host_exchange", host_exchange},
    {"mesh", mesh},
    {"handles", handles},
    {"steady_state_allocates_nothing", steady_state_allocates_nothing},
};

}  // namespace

std::span<const ConformanceCase> conformance_cases() { return kCases; }

}  // namespace leasehold
