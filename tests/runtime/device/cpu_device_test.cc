// Streams, events and memory of the CPU device, in both of its modes.
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

TEST_P(CpuStreams, AnEventNotRecordedYetHoldsNobodyUp) {
  const auto event = make_event();
  const auto stream = make_stream();
  EXPECT_TRUE(event->ready());
  EXPECT_TRUE(event->wait(Deadline::after_s(0)).ok());
  bool ran = false;
  stream->wait(*event);
  enqueue(*stream, [out = &ran] { *out = true; });
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  EXPECT_TRUE(ran);
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

TEST_P(CpuStreams, AnEventMayServeAHealthyStreamAfterAFailedOne) {
  const auto event = make_event();
  const auto failed = make_stream("failed");
  const auto healthy = make_stream("healthy");
  enqueue_failure(*failed, "lost");
  failed->record(*event);
  EXPECT_FALSE(failed->synchronize(soon()).ok());
  healthy->record(*event);
  EXPECT_TRUE(event->wait(soon()).ok());
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

TEST_F(AsynchronousStreams, EveryHostWaitEndsAtItsDeadline) {
  const auto event = make_event();
  HeldStream held(*device_);
  held.stream().record(*event);
  EXPECT_EQ(event->wait(Deadline::after_s(0.01)).code(), Code::kUnavailable);
  const Status status = held.stream().synchronize(Deadline::after_s(0.01));
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find("held"), std::string::npos) << status.message();
  held.go();
  EXPECT_TRUE(event->wait(soon()).ok());
  EXPECT_TRUE(held.stream().synchronize(soon()).ok())
      << "a missed deadline is no failure of the stream";
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

TEST_F(AsynchronousStreams, WaitingIsForTheNewestRecordAtTheTimeOfTheWait) {
  const auto event = make_event();
  const auto first = device_->create_stream("first").value();
  const auto waiting = device_->create_stream("waiting").value();
  first->record(*event);
  ASSERT_TRUE(first->synchronize(soon()).ok());
  waiting->wait(*event);
  HeldStream held(*device_);
  held.stream().record(*event);  // a later record does not prolong the wait
  EXPECT_TRUE(waiting->synchronize(soon()).ok());
  EXPECT_FALSE(event->ready());
}

TEST_F(AsynchronousStreams, ALaterRecordOnAnotherStreamDoesNotEndAWait) {
  const auto event = make_event();
  HeldStream held(*device_);
  const auto other = device_->create_stream("other").value();
  const auto waiting = device_->create_stream("waiting").value();
  std::atomic<bool> ran{false};
  held.stream().record(*event);
  waiting->wait(*event);
  enqueue(*waiting, [out = &ran] { *out = true; });
  other->record(*event);
  ASSERT_TRUE(other->synchronize(soon()).ok());
  EXPECT_TRUE(event->wait(soon()).ok());  // the newest record is reached ...
  EXPECT_EQ(waiting->synchronize(Deadline::after_s(0.02)).code(), Code::kUnavailable);
  EXPECT_FALSE(ran) << "... but the older one, which the stream waits for, is not";
  held.go();
  ASSERT_TRUE(waiting->synchronize(soon()).ok());
  EXPECT_TRUE(ran);
}

TEST_F(AsynchronousStreams, AStreamRunsItsWorkBeforeItEnds) {
  int runs = 0;
  {
    const auto stream = device_->create_stream("stream").value();
    for (int i = 0; i < 100; ++i) enqueue(*stream, [out = &runs] { ++*out; });
  }
  EXPECT_EQ(runs, 100);
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

TEST(CpuDevice, MemoryIsZeroAlignedAndWritable) {
  const auto device = CpuDevice::create({});
  for (const int64_t size : {int64_t{1}, int64_t{4097}, int64_t{3} << 20}) {
    const auto memory = device->allocate(size, MemoryKind::kDevice, "test").value();
    EXPECT_EQ(memory->size_bytes(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % 4096, 0U);
    auto* bytes = static_cast<unsigned char*>(memory->data());
    for (int64_t i = 0; i < size; ++i) ASSERT_EQ(bytes[i], 0);
    std::memset(bytes, 1, static_cast<size_t>(size));
  }
}

TEST(CpuDevice, TooMuchMemoryIsRefusedByName) {
  const auto device = CpuDevice::create({});
  const auto memory = device->allocate(int64_t{1} << 60, MemoryKind::kDevice, "activations");
  ASSERT_FALSE(memory.ok());
  EXPECT_EQ(memory.status().code(), Code::kUnavailable);
  for (const char* part : {"activations", "1152921504606846976"}) {
    EXPECT_NE(memory.status().message().find(part), std::string::npos) << memory.status().message();
  }
  EXPECT_EQ(device->allocate(0, MemoryKind::kDevice, "nothing").status().code(), Code::kInternal);
}

class ForeignEvent : public Event {
 public:
  bool ready() const override { return true; }
  Status wait(Deadline) const override { return ok_status(); }
};

class ForeignStream : public Stream {
 public:
  const std::string& name() const override { return name_; }
  void record(Event&) override {}
  void wait(const Event&) override {}
  void copy(void*, const void*, int64_t) override {}
  void fill_zero(void*, int64_t) override {}
  Status synchronize(Deadline) override { return ok_status(); }

 private:
  std::string name_ = "foreign";
};

TEST(CpuDevice, StreamsAndEventsOfOtherDevicesAreRefused) {
  const auto device = CpuDevice::create({});
  const auto stream = device->create_stream("stream").value();
  ForeignEvent event;
  EXPECT_THROW(stream->record(event), StatusError);
  EXPECT_THROW(stream->wait(event), StatusError);
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
