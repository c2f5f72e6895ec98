// What the CPU device does beyond the contract of all devices (cpu_device_contract_test.cc), in
// both of its modes.
#include "runtime/device/cpu_device.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <gtest/gtest.h>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/device/cpu_stream.h"
#include "runtime/device/cuda.h"
#include "tests/runtime/device/device_contract.h"

namespace leasehold {
namespace {

// Parameter: whether the device is asynchronous.
class CpuStreams : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<CpuDevice> make_device(uint64_t delay_seed = 0, double wait_limit_s = 20) {
    return CpuDevice::create({.num_threads = 1,
                              .asynchronous = GetParam(),
                              .delay_seed = delay_seed,
                              .wait_limit_s = wait_limit_s});
  }
  std::unique_ptr<Stream> make_stream(const std::string& name = "stream") {
    return device_->create_stream(name).value();
  }
  std::unique_ptr<Event> make_event() { return device_->create_event().value(); }

  std::unique_ptr<CpuDevice> device_ = make_device();
};

INSTANTIATE_TEST_SUITE_P(Modes, CpuStreams, testing::Bool(),
                         [](const auto& mode) { return mode.param ? "Asynchronous" : "Inline"; });

template <typename Task>
void enqueue(Stream& stream, const Task& task) {
  CpuStream::from(stream).enqueue(task);
}

void enqueue_failure(Stream& stream, const char* message) {
  enqueue(stream, [message] { throw StatusError(error(Code::kUnavailable, "{}", message)); });
}

TEST_P(CpuStreams, WorkRunsInTheOrderOfEnqueueing) {
  const auto stream = make_stream();
  std::vector<int> order;
  for (int i = 0; i < 5000; ++i) {  // more than the ring of an asynchronous stream holds
    enqueue(*stream, [i, out = &order] { out->push_back(i); });
  }
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  ASSERT_EQ(order.size(), 5000U);
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(order[static_cast<size_t>(i)], i);
}

TEST_P(CpuStreams, CapturesAreCopied) {
  const auto stream = make_stream();
  std::atomic<bool> go{!device_->options().asynchronous};
  int seen = 0;
  enqueue(*stream, [flag = &go] {
    while (!*flag) std::this_thread::yield();
  });
  {
    int value = 1;
    auto task = [value, out = &seen] { *out = value; };
    enqueue(*stream, task);
    value = 2;
    std::memset(static_cast<void*>(&task), 0, sizeof task);
  }
  go = true;
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  EXPECT_EQ(seen, 1);
}

TEST_P(CpuStreams, RunsOnTheThreadThatItsModePromises) {
  const auto stream = make_stream();
  std::thread::id id;
  enqueue(*stream, [out = &id] { *out = std::this_thread::get_id(); });
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  EXPECT_EQ(id == std::this_thread::get_id(), !GetParam());
  EXPECT_EQ(CpuStream::from(*stream).is_inline(), !GetParam());
  EXPECT_EQ(stream->name(), "stream");
}

TEST_P(CpuStreams, CopiesAndFills) {
  const auto stream = make_stream();
  std::vector<int> from = {1, 2, 3, 4};
  std::vector<int> to = {9, 9, 9, 9};
  stream->copy(&to[1], &from[0], 2 * sizeof(int));
  stream->fill_zero(&to[3], sizeof(int));
  stream->copy(&from[1], &from[0], 3 * sizeof(int));  // overlapping
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  EXPECT_EQ(to, (std::vector<int>{9, 1, 2, 0}));
  EXPECT_EQ(from, (std::vector<int>{1, 1, 2, 3}));
}

TEST_P(CpuStreams, AFailureSkipsWhatFollowsAndIsReturned) {
  const auto stream = make_stream();
  int runs = 0;
  enqueue(*stream, [out = &runs] { ++*out; });
  enqueue_failure(*stream, "rank 3 is gone");
  enqueue(*stream, [out = &runs] { ++*out; });
  enqueue_failure(*stream, "a later failure");
  stream->fill_zero(&runs, sizeof runs);
  for (int repeat = 0; repeat < 2; ++repeat) {
    const Status status = stream->synchronize(soon());
    EXPECT_EQ(status.code(), Code::kUnavailable);
    EXPECT_EQ(status.message(), "rank 3 is gone");
  }
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(CpuStream::from(*stream).failure().message(), "rank 3 is gone");
}

TEST_P(CpuStreams, WhatMustRunRunsInSpiteOfAFailure) {
  const auto stream = make_stream();
  bool ran = false;
  enqueue_failure(*stream, "lost");
  CpuStream::from(*stream).enqueue_always([out = &ran] { *out = true; });
  EXPECT_FALSE(stream->synchronize(soon()).ok());
  EXPECT_TRUE(ran);
}

TEST_P(CpuStreams, AStrangeExceptionIsAnInternalErrorThatNamesTheStream) {
  const auto stream = make_stream("compute");
  enqueue(*stream, [] { throw std::runtime_error("odd"); });
  const Status status = stream->synchronize(soon());
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_EQ(status.message(), "stream compute: odd");
}

TEST_P(CpuStreams, EventsOrderStreams) {
  const auto event = make_event();
  const auto first = make_stream("first");
  const auto second = make_stream("second");
  int value = 0;
  int seen = -1;
  for (int round = 1; round <= 100; ++round) {  // the event is recorded again and again
    enqueue(*first, [round, out = &value] {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      *out = round;
    });
    first->record(*event);
    second->wait(*event);
    enqueue(*second, [from = &value, out = &seen] { *out = *from; });
    ASSERT_TRUE(second->synchronize(soon()).ok());
    ASSERT_EQ(seen, round);
  }
}

TEST_P(CpuStreams, TheHostWaitsForAnEvent) {
  const auto event = make_event();
  const auto stream = make_stream();
  std::atomic<int> value{0};
  enqueue(*stream, [out = &value] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    *out = 1;
  });
  stream->record(*event);
  enqueue(*stream, [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
  ASSERT_TRUE(event->wait(soon()).ok());
  EXPECT_EQ(value, 1);
  EXPECT_TRUE(event->ready());
}

TEST_P(CpuStreams, AFailurePassesThroughEvents) {
  const auto event = make_event();
  const auto first = make_stream("first");
  const auto second = make_stream("second");
  int runs = 0;
  enqueue_failure(*first, "lost");
  first->record(*event);
  second->wait(*event);
  enqueue(*second, [out = &runs] { ++*out; });
  EXPECT_EQ(second->synchronize(soon()).message(), "lost");
  EXPECT_EQ(event->wait(soon()).message(), "lost");
  EXPECT_TRUE(event->ready());
  EXPECT_EQ(runs, 0);
}

// A stream that a test holds up until it says go; asynchronous mode only.
class HeldStream {
 public:
  explicit HeldStream(CpuDevice& device, const std::string& name = "held")
      : stream_(device.create_stream(name).value()) {
    enqueue(*stream_, [flag = &go_] {
      while (!*flag) std::this_thread::sleep_for(std::chrono::microseconds(100));
    });
  }
  ~HeldStream() { go(); }
  Stream& stream() { return *stream_; }
  void go() { go_ = true; }

 private:
  std::atomic<bool> go_{false};
  std::unique_ptr<Stream> stream_;
};

class AsynchronousStreams : public testing::Test {
 protected:
  std::unique_ptr<CpuDevice> device_ = CpuDevice::create({.asynchronous = true});
  std::unique_ptr<Event> make_event() { return device_->create_event().value(); }
};

TEST_F(AsynchronousStreams, EnqueueingReturnsAtOnce) {
  const auto event = make_event();
  HeldStream held(*device_);
  int value = 0;
  enqueue(held.stream(), [out = &value] { *out = 1; });
  held.stream().record(*event);
  EXPECT_EQ(value, 0);
  EXPECT_FALSE(event->ready());
  held.go();
  ASSERT_TRUE(held.stream().synchronize(soon()).ok());
  EXPECT_EQ(value, 1);
}

TEST_F(AsynchronousStreams, AStreamGivesUpWaitingAtItsLimit) {
  const auto event = make_event();
  const auto device = CpuDevice::create({.asynchronous = true, .wait_limit_s = 0.02});
  HeldStream held(*device);
  const auto waiting = device->create_stream("waiting").value();
  bool ran = false;
  held.stream().record(*event);
  waiting->wait(*event);
  enqueue(*waiting, [out = &ran] { *out = true; });
  EXPECT_EQ(waiting->synchronize(soon()).code(), Code::kUnavailable);
  EXPECT_FALSE(ran);
}

// A pipeline of two streams; how often the second one read what the first had not written yet.
int count_races(uint64_t delay_seed, bool with_event) {
  const auto device = CpuDevice::create({.asynchronous = true, .delay_seed = delay_seed});
  const auto event = device->create_event().value();
  const auto writer = device->create_stream("writer").value();
  const auto reader = device->create_stream("reader").value();
  constexpr int kRounds = 20;
  std::vector<std::atomic<int>> written(kRounds);
  std::vector<int> read(kRounds);
  for (size_t i = 0; i < kRounds; ++i) {
    enqueue(*writer, [out = &written[i]] { *out = 1; });
    writer->record(*event);
    if (with_event) reader->wait(*event);
    enqueue(*reader, [from = &written[i], out = &read[i]] { *out = *from; });
  }
  EXPECT_TRUE(writer->synchronize(soon()).ok());
  EXPECT_TRUE(reader->synchronize(soon()).ok());
  return static_cast<int>(std::count(read.begin(), read.end(), 0));
}

TEST(SeededDelays, AMissingEventShowsAsAWrongResult) {
  int seeds_that_show_it = 0;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    EXPECT_EQ(count_races(seed, true), 0) << "seed " << seed;
    seeds_that_show_it += count_races(seed, false) > 0;
  }
  EXPECT_GE(seeds_that_show_it, 5);
}

TEST(CpuDevice, Names) {
  EXPECT_EQ(CpuDevice::create({})->name(), "cpu (1 thread)");
  EXPECT_EQ(CpuDevice::create({.num_threads = 2, .asynchronous = true})->name(),
            "cpu (2 threads, asynchronous)");
  EXPECT_EQ(CpuDevice::create({.num_threads = 2})->thread_pool().num_threads(), 2);
  EXPECT_EQ(CpuDevice::create({})->kind(), DeviceKind::kCpu);
  EXPECT_STREQ(device_kind_name(DeviceKind::kCpu), "cpu");
  EXPECT_STREQ(device_kind_name(DeviceKind::kCuda), "cuda");
}

TEST(CpuDevice, StreamsOfOtherDevicesAreRefused) {
  ForeignStream foreign;
  EXPECT_THROW(CpuStream::from(foreign), StatusError);
}

TEST(Cuda, AnAbsentBackendSaysSo) {
  if (cuda_built()) GTEST_SKIP() << "this build has CUDA";
  const auto device = create_cuda_device(0);
  ASSERT_FALSE(device.ok());
  EXPECT_EQ(device.status().code(), Code::kBadConfig);
  EXPECT_NE(device.status().message().find("without CUDA"), std::string::npos)
      << device.status().message();
}

}  // namespace
}  // namespace leasehold
