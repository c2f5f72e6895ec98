#include "tests/collectives/conformance.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "runtime/comm/distinct_texts.h"
#include "runtime/comm/gather_bytes.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/comm/mesh.h"
#include "runtime/device/cpu_stream.h"
#include "tests/collectives/conformance_data.h"
#include "tests/collectives/counting_new.h"

namespace leasehold {

namespace {

// Returns small integers, so that every sum is exact in every dtype.
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

template <typename T>
void all_reduce_of(Communicator& group, ConformanceDevice& on, Stream& stream) {
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
    for (const int64_t n : kSizes) {
      const Data<T> data(on, elements<T>(group.rank(), n));
      expect_done(group.all_reduce(data.view(), op, stream));
      EXPECT_EQ(data.values(), reduced<T>(group.size(), op, n)) << n;
    }
  }
}

void all_reduce(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  all_reduce_of<float>(group, on, *stream);
  all_reduce_of<double>(group, on, *stream);
  all_reduce_of<int32_t>(group, on, *stream);
}

void all_reduce_keeps_nan(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
    for (int bad = 0; bad < group.size(); ++bad) {
      std::vector<double> data(3, group.rank());
      if (group.rank() == bad) data[1] = std::numeric_limits<double>::quiet_NaN();
      const Data<double> there(on, data);
      expect_done(group.all_reduce(there.view(), op, *stream));
      data = there.values();
      EXPECT_FALSE(std::isnan(data[0]));
      EXPECT_TRUE(std::isnan(data[1])) << bad;
      EXPECT_FALSE(std::isnan(data[2]));
    }
  }
}

template <typename T>
void all_gather_of(Communicator& group, ConformanceDevice& on, Stream& stream, bool in_place) {
  for (const int64_t n : kSizes) {
    std::vector<T> expected;
    for (int r = 0; r < group.size(); ++r) {
      const std::vector<T> part = elements<T>(r, n);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    const std::vector<T> mine = elements<T>(group.rank(), n);
    std::vector<T> before(expected.size());
    if (in_place) std::copy(mine.begin(), mine.end(), before.begin() + group.rank() * n);
    const Data<T> input(on, mine), output(on, before);
    expect_done(group.all_gather(in_place ? output.view(group.rank() * n, n) : input.view(),
                                 output.view(), stream));
    EXPECT_EQ(output.values(), expected) << n;
    EXPECT_EQ(input.values(), mine);
  }
}

void all_gather(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  for (const bool in_place : {false, true}) {
    all_gather_of<float>(group, on, *stream, in_place);
    all_gather_of<uint8_t>(group, on, *stream, in_place);
  }
}

template <typename T>
void reduce_scatter_of(Communicator& group, ConformanceDevice& on, Stream& stream, bool in_place,
                       ReduceOp op) {
  for (const int64_t n : kSizes) {
    const std::vector<T> whole = elements<T>(group.rank(), n * group.size());
    const std::vector<T> sums = reduced<T>(group.size(), op, n * group.size());
    const std::vector<T> expected(sums.begin() + group.rank() * n,
                                  sums.begin() + (group.rank() + 1) * n);
    const Data<T> input(on, whole), output = Data<T>::zeros(on, n);
    const Tensor target = in_place ? input.view(group.rank() * n, n) : output.view();
    expect_done(group.reduce_scatter(input.view(), target, op, stream));
    const std::vector<T> after = input.values();
    EXPECT_EQ(in_place ? std::vector<T>(after.begin() + group.rank() * n,
                                        after.begin() + (group.rank() + 1) * n)
                       : output.values(),
              expected)
        << n;
    EXPECT_TRUE(in_place || after == whole) << n;
  }
}

void reduce_scatter(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  for (const bool in_place : {false, true}) {
    reduce_scatter_of<float>(group, on, *stream, in_place, ReduceOp::kSum);
    reduce_scatter_of<double>(group, on, *stream, in_place, ReduceOp::kMax);
    reduce_scatter_of<int32_t>(group, on, *stream, in_place, ReduceOp::kMin);
  }
}

// Checks uneven exchanges. Rank r sends (r * 3 + p * 5) % 11 * scale elements to rank p: uneven
// sizes, some empty, some absent.
void all_to_all(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  const int self = group.rank();
  for (const int64_t scale : {1, 137, 9001}) {
    const auto count = [&](int from, int to) { return (from * 3 + to * 5) % 11 * scale; };
    std::vector<Data<float>> sent, received;
    for (int p = 0; p < group.size(); ++p) {
      sent.emplace_back(on, elements<float>(self, count(self, p), p));
      received.push_back(Data<float>::zeros(on, count(p, self)));
    }
    std::vector<Tensor> send, recv;
    for (int p = 0; p < group.size(); ++p) {
      const auto i = static_cast<size_t>(p);
      send.push_back(count(self, p) == 0 ? Tensor() : sent[i].view());
      recv.push_back(count(p, self) == 0 ? Tensor() : received[i].view());
    }
    const Work work = group.all_to_all(send, recv, *stream);
    send.clear();
    recv.clear();
    expect_done(work);
    for (int p = 0; p < group.size(); ++p) {
      EXPECT_EQ(received[static_cast<size_t>(p)].values(), elements<float>(p, count(p, self), self))
          << p << " to " << self;
    }
  }
}

void broadcast(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  for (int root = 0; root < group.size(); ++root) {
    for (const int64_t n : kSizes) {
      const Data<float> data(on, elements<float>(group.rank(), n));
      expect_done(group.broadcast(data.view(), root, *stream));
      EXPECT_EQ(data.values(), elements<float>(root, n)) << n << " from " << root;
    }
  }
}

// Checks messages. Every rank sends several messages of different sizes to every other rank before
// anyone waits. Odd ranks issue receives first, even ranks sends.
void point_to_point(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  constexpr int64_t kMessages[] = {3, 0, 70001, 1, 4096};
  std::vector<Work> works;
  std::vector<Data<int32_t>> sent, received;
  for (int p = 0; p < group.size(); ++p) {
    for (const int64_t n : kMessages) {
      sent.emplace_back(on, elements<int32_t>(group.rank(), n, p + n));
      received.push_back(Data<int32_t>::zeros(on, n));
    }
  }
  const auto issue = [&](bool sends) {
    size_t message = 0;
    for (int p = 0; p < group.size(); ++p) {
      for (size_t m = 0; m < std::size(kMessages); ++m, ++message) {
        if (p == group.rank()) continue;
        works.push_back(sends ? group.send(sent[message].view(), p, *stream)
                              : group.receive(received[message].view(), p, *stream));
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
      EXPECT_TRUE(!other || received[message].values() == elements<int32_t>(p, n, group.rank() + n))
          << p;
      ++message;
    }
  }
}

void several_in_flight(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  const auto other_stream = make_stream(on, "other");
  constexpr int64_t kCount = 12;
  std::vector<Data<float>> sums, shards;
  const auto gathered = Data<float>::zeros(on, group.size() * kCount);
  const Data<float> mine(on, std::vector<float>(kCount, static_cast<float>(group.rank())));
  std::vector<Work> works;
  for (int64_t i = 0; i < kCount; ++i) {
    sums.emplace_back(on, elements<float>(group.rank(), 1 + i * 4001));
    shards.emplace_back(on, elements<float>(group.rank(), group.size() * (i + 1)));
  }
  for (int64_t i = 0; i < kCount; ++i) {
    const auto k = static_cast<size_t>(i);
    works.push_back(group.all_reduce(sums[k].view(), ReduceOp::kSum, *stream));
    works.push_back(group.reduce_scatter(shards[k].view(),
                                         shards[k].view(group.rank() * (i + 1), i + 1),
                                         ReduceOp::kSum, i % 2 == 0 ? *stream : *other_stream));
    if (i == 5) works.push_back(group.all_gather(mine.view(), gathered.view(), *other_stream));
  }
  for (const Work& work : works) expect_done(work);
  for (int64_t i = 0; i < kCount; ++i) {
    const auto k = static_cast<size_t>(i);
    EXPECT_EQ(sums[k].values(), reduced<float>(group.size(), ReduceOp::kSum, 1 + i * 4001));
    const std::vector<float> whole =
        reduced<float>(group.size(), ReduceOp::kSum, group.size() * (i + 1));
    const std::vector<float> shard = shards[k].values();
    for (int64_t j = 0; j <= i; ++j) {
      const auto own = static_cast<size_t>(group.rank() * (i + 1) + j);
      EXPECT_EQ(shard[own], whole[own]);
    }
  }
  const std::vector<float> all = gathered.values();
  for (int r = 0; r < group.size(); ++r) {
    EXPECT_EQ(all[static_cast<size_t>(r * kCount)], static_cast<float>(r));
  }
}

// Checks the order on streams. Values travel computation -> communication -> computation by streams
// alone; the host waits only at the end.
void order_on_streams(Communicator& group, ConformanceDevice& on) {
  const auto compute = make_stream(on, "compute");
  const auto communication = make_stream(on, "communication");
  const auto event = std::move(on.device.create_event()).value();
  constexpr int kRounds = 12;
  const int64_t n = 513;
  const auto data = Data<double>::zeros(on, n);
  std::vector<Data<double>> addends;
  for (int round = 0; round < kRounds; ++round) {
    addends.emplace_back(on, std::vector<double>(static_cast<size_t>(n), group.rank() + round));
  }
  for (int round = 0; round < kRounds; ++round) {
    on.add(*compute, data.view(), addends[static_cast<size_t>(round)].view(), data.view());
    compute->record(*event);
    communication->wait(*event);
    group.all_reduce(data.view(), ReduceOp::kSum, *communication).then(*compute);
  }
  const Status status = compute->synchronize(Deadline::after_s(kLimitS));
  ASSERT_TRUE(status.ok()) << status.message();
  double expected = 0;  // below 2^53 with 8 ranks, so exact
  const int size = group.size();
  for (int round = 0; round < kRounds; ++round) {
    expected = size * (expected + round) + size * (size - 1) / 2.0;
  }
  for (const double value : data.values()) EXPECT_EQ(value, expected);
}

// Checks that a rank that comes late delays the others' operation, and no rank sees it done before.
void waits_for_the_last(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  const int last = group.size() - 1;
  const Data<float> data(on, {1});
  if (group.rank() == last) std::this_thread::sleep_for(std::chrono::milliseconds(30));
  const auto begin = std::chrono::steady_clock::now();
  const Work work = group.all_reduce(data.view(), ReduceOp::kSum, *stream);
  const Status early = work.wait(Deadline::after_s(0));
  EXPECT_TRUE(early.ok() || early.code() == Code::kUnavailable) << early.message();
  expect_done(work);
  EXPECT_EQ(data.values()[0], static_cast<float>(group.size()));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
            kLimitS / 2);
  EXPECT_TRUE(group.health().ok());
}

void split(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  // Even and odd ranks, in reverse order.
  auto half = group.split(group.rank() % 2, -group.rank(), "half");
  ASSERT_TRUE(half.ok()) << half.status().message();
  Communicator& part = **half;
  EXPECT_EQ(part.name(), "half");
  const int members = (group.size() + (group.rank() % 2 == 0 ? 1 : 0)) / 2;
  EXPECT_EQ(part.size(), members);
  EXPECT_EQ(part.rank(), members - 1 - group.rank() / 2);
  const Data<int32_t> mine(on, {group.rank()});
  const auto gathered = Data<int32_t>::zeros(on, part.size());
  expect_done(part.all_gather(mine.view(), gathered.view(), *stream));
  const std::vector<int32_t> all = gathered.values();
  for (int r = 0; r < part.size(); ++r) {
    EXPECT_EQ(all[static_cast<size_t>(r)], 2 * (members - 1 - r) + group.rank() % 2);
  }
  // Operations of two groups do not mix, even when they are under way at once.
  const Data<double> whole_sum(on, {1}), part_sum(on, {1});
  const Work whole = group.all_reduce(whole_sum.view(), ReduceOp::kSum, *stream);
  const Work partial = part.all_reduce(part_sum.view(), ReduceOp::kSum, *stream);
  expect_done(partial);
  expect_done(whole);
  EXPECT_EQ(whole_sum.values()[0], group.size());
  EXPECT_EQ(part_sum.values()[0], part.size());

  auto nested = part.split(0, part.rank(), "nested");
  ASSERT_TRUE(nested.ok()) << nested.status().message();
  EXPECT_EQ((*nested)->size(), part.size());
  EXPECT_EQ((*nested)->rank(), part.rank());
  auto alone = group.split(group.rank(), 0, "alone");
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ((*alone)->size(), 1);
  const Data<double> own(on, {7});
  expect_done((*alone)->all_reduce(own.view(), ReduceOp::kSum, *stream));
  EXPECT_EQ(own.values()[0], 7);
  auto first_only = group.split(group.rank() == 0 ? 0 : -1, 0, "first");
  ASSERT_TRUE(first_only.ok());
  EXPECT_EQ(*first_only != nullptr, group.rank() == 0);
}

// Expects the failure of a group that the test gave up, even if a peer's abort came first.
void expect_given_up(const Status& status) {
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("given up by the test"), std::string::npos) << status.message();
}

void abort_of_a_part(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  auto part = group.split(0, group.rank(), "doomed");
  ASSERT_TRUE(part.ok());
  // The last rank never comes; the others give up their pending operations.
  const Data<float> data(on, {1, 2, 3});
  std::vector<Work> works;
  const bool comes = group.rank() != group.size() - 1 || group.size() == 1;
  if (comes) works.push_back((*part)->all_reduce(data.view(), ReduceOp::kSum, *stream));
  (*part)->abort(Status(Code::kUnavailable, "given up by the test"));
  (*part)->abort(Status(Code::kInternal, "a second reason is not kept"));
  expect_given_up((*part)->health());
  for (const Work& work : works) {
    const Status status = work.wait(Deadline::after_s(kLimitS));
    if (group.size() > 1) expect_given_up(status);
  }
  const Work later = (*part)->all_gather(data.view(0, 0), data.view(0, 0), *stream);
  expect_given_up(later.wait(Deadline::after_s(kLimitS)));
  // The failure fails a stream that waits for it, and nothing hangs after it.
  const auto compute = make_stream(on, "compute");
  later.then(*compute);
  expect_given_up(compute->synchronize(Deadline::after_s(kLimitS)));
  // The parent group continues.
  const Data<float> one(on, {1});
  expect_done(group.all_reduce(one.view(), ReduceOp::kSum, *stream));
  EXPECT_EQ(one.values()[0], static_cast<float>(group.size()));
}

// Runs only on groups of host memory.
void host_exchange(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "host");
  const auto deadline = [] { return Deadline::after_s(kLimitS); };
  const auto text = [](int rank, size_t scale) {
    return std::string(static_cast<size_t>(rank) * scale, static_cast<char>('a' + rank));
  };
  for (const size_t scale : {size_t{0}, size_t{3}, size_t{700000}}) {
    const auto all = all_gather_bytes(group, *stream, text(group.rank(), scale), deadline());
    ASSERT_TRUE(all.ok()) << all.status().message();
    for (int r = 0; r < group.size(); ++r)
      EXPECT_EQ((*all)[static_cast<size_t>(r)], text(r, scale));
    const auto gathered = gather_bytes(group, *stream, text(group.rank(), scale), deadline());
    ASSERT_TRUE(gathered.ok()) << gathered.status().message();
    EXPECT_EQ(*gathered, group.rank() == 0 ? *all : std::vector<std::string>());
    const int root = group.size() - 1;
    const auto from_root =
        broadcast_bytes(group, *stream, text(group.rank(), scale), root, deadline());
    ASSERT_TRUE(from_root.ok());
    EXPECT_EQ(*from_root, text(root, scale));
  }
  // The last rank has a different text.
  const bool is_other = group.rank() > 0 && group.rank() == group.size() - 1;
  const auto distinct = distinct_texts(group, *stream, is_other ? "other" : "same",
                                       fmt::format("node {}", group.rank()), deadline());
  ASSERT_TRUE(distinct.ok()) << distinct.status().message();
  std::vector<DistinctText> expected = {{0, "same", "node 0"}};
  const int last = group.size() - 1;
  if (last > 0) expected.push_back({last, "other", fmt::format("node {}", last)});
  EXPECT_EQ(*distinct, expected);
  EXPECT_TRUE(agree(group, *stream, ok_status(), deadline()).ok());
  // The last two ranks fail; all ranks get the failure of the lower one.
  const int failing = std::max(group.size() - 2, 0);
  const Status mine =
      group.rank() < failing ? ok_status() : error(Code::kStorage, "disk {} is full", group.rank());
  const Status agreed = agree(group, *stream, mine, deadline());
  EXPECT_EQ(agreed.code(), Code::kStorage);
  const std::string message = fmt::format("disk {} is full", failing);
  const std::string who =
      group.size() <= 2 ? "" : fmt::format("ranks {}-{}: ", failing, failing + 1);
  EXPECT_EQ(agreed.message(), who + message);
  // Agreeing again on an agreed failure does not change it.
  EXPECT_EQ(agree(group, *stream, agreed.annotated("saving"), deadline()).message(),
            "saving: " + who + message);
  // A rank that only lost a peer does not hide what another one knows.
  if (group.size() > 1) {
    const bool knows = group.rank() == group.size() - 1;
    const Status told =
        agree(group, *stream,
              error(knows ? Code::kBadConfig : Code::kUnavailable, "of rank {}", group.rank()),
              deadline());
    EXPECT_EQ(told.code(), Code::kBadConfig);
    EXPECT_EQ(told.message(),
              fmt::format("rank {}: of rank {}", group.size() - 1, group.size() - 1));
  }
  EXPECT_TRUE(barrier(group, *stream, deadline()).ok());
}

void mesh(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  const int tensor = group.size() % 2 == 0 ? 2 : 1;
  auto made = Mesh::create(group, {.data = group.size() / tensor, .pipeline = 1, .tensor = tensor});
  ASSERT_TRUE(made.ok()) << made.status().message();
  for (const Axis axis : {Axis::kData, Axis::kPipeline, Axis::kTensor}) {
    Communicator& along = made->group(axis);
    EXPECT_EQ(along.size(), made->shape().size(axis));
    const Data<int32_t> sum(on, {1});
    expect_done(along.all_reduce(sum.view(), ReduceOp::kSum, *stream));
    EXPECT_EQ(sum.values()[0], along.size());
  }
  EXPECT_EQ(made->group(Axis::kTensor).rank(), group.rank() % tensor);
  EXPECT_FALSE(Mesh::create(group, {.data = group.size() + 1}).ok());
}

// Checks that a Work may be dropped, or outlive later operations.
void handles(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  const Data<float> kept_data(on, {1}), data(on, {1});
  const Work kept = group.all_reduce(kept_data.view(), ReduceOp::kSum, *stream);
  for (int i = 0; i < 50; ++i) {
    (void)group.all_reduce(data.view(), ReduceOp::kMax, *stream);
    expect_done(group.broadcast(data.view(), 0, *stream));
  }
  expect_done(kept);
  EXPECT_EQ(kept_data.values()[0], static_cast<float>(group.size()));
  expect_done(Work());
}

// Checks that after the first operations, issuing, waiting and taking times allocate nothing, on
// any rank and any thread of the process.
void steady_state_allocates_nothing(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  const auto compute = make_stream(on, "compute");
  (void)group.busy_s();
  const int64_t part = 5000;
  const auto data = Data<float>::zeros(on, group.size() * part);
  const auto other = Data<float>::zeros(on, group.size() * part);
  const auto own = Data<float>::zeros(on, part);
  std::vector<Tensor> sends, receives;
  for (int64_t p = 0; p < group.size(); ++p) {
    sends.push_back(data.view(p * part, part));
    receives.push_back(other.view(p * part, part));
  }
  const int next = (group.rank() + 1) % group.size(),
            previous = (group.rank() + group.size() - 1) % group.size();
  const auto wait_all = [](std::initializer_list<Work> works) {
    bool ok = true;
    for (const Work& work : works) ok &= work.wait(Deadline::after_s(kLimitS)).ok();
    return ok;
  };
  const auto round = [&] {
    const Work sum = group.all_reduce(data.view(), ReduceOp::kMax, *stream);
    sum.then(*compute);
    bool ok =
        wait_all({sum, group.reduce_scatter(data.view(), own.view(), ReduceOp::kMax, *stream)});
    ok &= wait_all({group.all_gather(own.view(), other.view(), *stream),
                    group.broadcast(data.view(), 0, *stream)});
    ok &= wait_all({group.all_to_all(sends, receives, *stream)});
    if (group.size() > 1) {
      ok &= wait_all({group.send(own.view(), next, *stream),
                      group.receive(other.view(0, part), previous, *stream)});
    }
    return ok && compute->synchronize(Deadline::after_s(kLimitS)).ok();
  };
  // Barriers keep all ranks of the process in the measured part.
  const Data<float> one(on, {1});
  const auto meet = [&] {
    return wait_all({group.all_reduce(one.view(), ReduceOp::kMax, *stream)});
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
    {"bf16_moves", conformance_bf16_moves},
    {"reduce_scatter", reduce_scatter},
    {"all_to_all", all_to_all},
    {"broadcast", broadcast},
    {"point_to_point", point_to_point},
    {"several_in_flight", several_in_flight},
    {"order_on_streams", order_on_streams},
    {"waits_for_the_last", waits_for_the_last},
    {"split", split},
    {"abort_of_a_part", abort_of_a_part},
    {"host_exchange", host_exchange, true},
    {"mesh", mesh},
    {"handles", handles},
    {"busy_time", conformance_busy_time},
    {"steady_state_allocates_nothing", steady_state_allocates_nothing},
};

}  // namespace

ConformanceDevice conformance_device(Device& cpu_device) {
  const auto add = [](Stream& stream, Tensor left, Tensor right, Tensor out) {
    CpuStream::from(stream).enqueue([left, right, out] {
      for (int64_t i = 0; i < out.num_elements(); ++i)
        out.as<double>()[i] = left.as<double>()[i] + right.as<double>()[i];
    });
  };
  return {cpu_device, add};
}

std::span<const ConformanceCase> conformance_cases() { return kCases; }

}  // namespace leasehold
