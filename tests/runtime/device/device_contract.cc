#include "tests/runtime/device/device_contract.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "runtime/base/resource_exhausted.h"

namespace leasehold {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DeviceContract);

void DeviceContract::SetUp() {
  const std::string why_not = GetParam().why_not();
  if (!why_not.empty()) GTEST_SKIP() << why_not;
  under_test_ = GetParam().create();
}

std::unique_ptr<Stream> DeviceContract::make_stream(const std::string& name) {
  return under_test_->device().create_stream(name).value();
}

std::unique_ptr<Event> DeviceContract::make_event() {
  return under_test_->device().create_event().value();
}

int32_t* DeviceContract::device_value() {
  memory_.push_back(
      under_test_->device().allocate(sizeof(int32_t), MemoryKind::kDevice, "a value").value());
  return static_cast<int32_t*>(memory_.back()->data());
}

int32_t* DeviceContract::pinned_value() {
  memory_.push_back(
      under_test_->device().allocate(sizeof(int32_t), MemoryKind::kPinned, "a value").value());
  return static_cast<int32_t*>(memory_.back()->data());
}

int32_t DeviceContract::read(const int32_t* value) {
  int32_t* host = pinned_value();
  const auto stream = make_stream("reader");
  stream->copy(host, value, sizeof *host);
  EXPECT_TRUE(stream->synchronize(soon()).ok());
  return *host;
}

GatedStream::GatedStream(DeviceUnderTest& device, int32_t* gate, const std::string& name)
    : gate_(gate), stream_(device.device().create_stream(name).value()) {
  device.hold(*stream_, gate);
}

void GatedStream::go() { std::atomic_ref(*gate_).store(1, std::memory_order_release); }

namespace {

TEST_P(DeviceContract, WorkRunsInTheOrderOfEnqueueing) {
  constexpr int32_t kRounds = 1500;  // more than queues hold
  int32_t* counter = device_value();
  const auto log =
      under_test_->device().allocate(kRounds * sizeof(int32_t), MemoryKind::kPinned, "log").value();
  auto* seen = static_cast<int32_t*>(log->data());
  const auto stream = make_stream();
  for (int32_t i = 0; i < kRounds; ++i) {
    under_test_->add_one(*stream, counter);
    stream->copy(&seen[i], counter, sizeof(int32_t));
  }
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  for (int32_t i = 0; i < kRounds; ++i) ASSERT_EQ(seen[i], i + 1);
}

TEST_P(DeviceContract, CopiesBetweenAllKindsOfMemoryAndFills) {
  constexpr int64_t kBytes = 1000;
  Device& device = under_test_->device();
  const auto pinned = device.allocate(kBytes, MemoryKind::kPinned, "pinned").value();
  const auto first = device.allocate(kBytes, MemoryKind::kDevice, "first").value();
  const auto second = device.allocate(kBytes, MemoryKind::kDevice, "second").value();
  std::vector<unsigned char> from(kBytes), to(kBytes);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<unsigned char>(i % 251);
  const auto stream = make_stream();
  stream->copy(first->data(), from.data(), kBytes);
  stream->copy(second->data(), first->data(), kBytes);
  stream->fill_zero(static_cast<char*>(second->data()) + 3, 5);
  stream->copy(pinned->data(), second->data(), kBytes);
  stream->copy(to.data(), pinned->data(), kBytes);
  stream->copy(to.data(), from.data(), 0);
  stream->copy(nullptr, nullptr, 0);
  stream->fill_zero(nullptr, 0);
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  std::memset(from.data() + 3, 0, 5);
  EXPECT_EQ(to, from);
}

TEST_P(DeviceContract, AFailureSkipsWhatFollowsAndIsReturned) {
  int32_t* value = device_value();
  const auto stream = make_stream("compute");
  under_test_->add_one(*stream, value);
  under_test_->fail(*stream, "rank 3 is gone");
  under_test_->add_one(*stream, value);
  under_test_->fail(*stream, "a later failure");
  stream->fill_zero(value, sizeof *value);
  for (int repeat = 0; repeat < 2; ++repeat) {
    const Status status = stream->synchronize(soon());
    EXPECT_EQ(status.code(), Code::kUnavailable);
    EXPECT_NE(status.message().find("rank 3 is gone"), std::string::npos) << status.message();
  }
  EXPECT_EQ(read(value), 1);
}

TEST_P(DeviceContract, EventsOrderStreams) {
  int32_t* counter = device_value();
  int32_t* seen = pinned_value();
  const auto event = make_event();
  const auto first = make_stream("first");
  const auto second = make_stream("second");
  for (int32_t round = 1; round <= 30; ++round) {  // the event is recorded again and again
    under_test_->add_one_slowly(*first, counter);
    first->record(*event);
    second->wait(*event);
    second->copy(seen, counter, sizeof *seen);
    ASSERT_TRUE(second->synchronize(soon()).ok());
    ASSERT_EQ(*seen, round);
  }
}

TEST_P(DeviceContract, AnEventNotRecordedYetHoldsNobodyUp) {
  int32_t* value = device_value();
  const auto event = make_event();
  const auto stream = make_stream();
  EXPECT_TRUE(event->ready());
  EXPECT_TRUE(event->wait(Deadline::after_s(0)).ok());
  stream->wait(*event);
  under_test_->add_one(*stream, value);
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  EXPECT_EQ(read(value), 1);
}

TEST_P(DeviceContract, TheHostWaitsForAnEvent) {
  int32_t* counter = device_value();
  int32_t* seen = pinned_value();
  const auto event = make_event();
  const auto stream = make_stream();
  under_test_->add_one_slowly(*stream, counter);
  stream->copy(seen, counter, sizeof *seen);
  stream->record(*event);
  under_test_->add_one_slowly(*stream, counter);
  ASSERT_TRUE(event->wait(soon()).ok());
  EXPECT_EQ(*seen, 1);
  EXPECT_TRUE(event->ready());
}

TEST_P(DeviceContract, TimedEventsTellHowFarApartTheyAre) {
  Device& device = under_test_->device();
  const auto first = device.create_timed_event().value();
  const auto second = device.create_timed_event().value();
  int32_t* counter = device_value();
  const auto stream = make_stream();
  EXPECT_EQ(second->seconds_since(*first).status().code(), Code::kInternal);  // not recorded
  for (int round = 0; round < 3; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    stream->record(*first);
    under_test_->add_one_slowly(*stream, counter);
    stream->record(*second);
    ASSERT_TRUE(stream->synchronize(soon()).ok());
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    const double seconds = second->seconds_since(*first).value();
    EXPECT_GT(seconds, 0);
    EXPECT_LE(seconds, passed.count());
    EXPECT_EQ(first->seconds_since(*first).value(), 0);
  }
}

TEST_P(DeviceContract, AnEventThatIsNotReadyHasNoTimeYet) {
  if (!under_test_->is_asynchronous()) GTEST_SKIP() << "nothing can be held up";
  Device& device = under_test_->device();
  const auto first = device.create_timed_event().value();
  const auto second = device.create_timed_event().value();
  GatedStream held(*under_test_, pinned_value());
  held.stream().record(*first);
  held.stream().record(*second);
  EXPECT_EQ(second->seconds_since(*first).status().code(), Code::kUnavailable);
  held.go();
  ASSERT_TRUE(held.stream().synchronize(soon()).ok());
  EXPECT_GE(second->seconds_since(*first).value(), 0);
}

TEST_P(DeviceContract, AnEventThatTakesNoTimesSaysSo) {
  Device& device = under_test_->device();
  const auto timed = device.create_timed_event().value();
  const auto plain = make_event();
  const auto stream = make_stream();
  stream->record(*timed);
  stream->record(*plain);
  ASSERT_TRUE(stream->synchronize(soon()).ok());
  EXPECT_EQ(plain->seconds_since(*timed).status().code(), Code::kInternal);
  EXPECT_EQ(timed->seconds_since(*plain).status().code(), Code::kInternal);
}

TEST_P(DeviceContract, AFailurePassesThroughEvents) {
  int32_t* value = device_value();
  const auto event = make_event();
  const auto first = make_stream("first");
  const auto second = make_stream("second");
  under_test_->fail(*first, "lost");
  first->record(*event);
  second->wait(*event);
  under_test_->add_one(*second, value);
  for (const Status& status : {second->synchronize(soon()), event->wait(soon())}) {
    EXPECT_EQ(status.code(), Code::kUnavailable);
    EXPECT_NE(status.message().find("lost"), std::string::npos) << status.message();
  }
  EXPECT_TRUE(event->ready());
  EXPECT_EQ(read(value), 0);
}

TEST_P(DeviceContract, AnEventMayServeAHealthyStreamAfterAFailedOne) {
  const auto event = make_event();
  const auto failed = make_stream("failed");
  const auto healthy = make_stream("healthy");
  under_test_->fail(*failed, "lost");
  failed->record(*event);
  EXPECT_FALSE(failed->synchronize(soon()).ok());
  healthy->record(*event);
  EXPECT_TRUE(event->wait(soon()).ok());
}

TEST_P(DeviceContract, EveryHostWaitEndsAtItsDeadline) {
  if (!under_test_->is_asynchronous()) GTEST_SKIP() << "nothing can be held up";
  int32_t* gate = pinned_value();
  const auto event = make_event();
  GatedStream held(*under_test_, gate);
  held.stream().record(*event);
  EXPECT_FALSE(event->ready());
  EXPECT_EQ(event->wait(Deadline::after_s(0.02)).code(), Code::kUnavailable);
  const Status status = held.stream().synchronize(Deadline::after_s(0.02));
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find("held"), std::string::npos) << status.message();
  held.go();
  EXPECT_TRUE(event->wait(soon()).ok());
  EXPECT_TRUE(held.stream().synchronize(soon()).ok())
      << "a missed deadline is no failure of the stream";
}

TEST_P(DeviceContract, WaitingIsForTheNewestRecordAtTheTimeOfTheWait) {
  if (!under_test_->is_asynchronous()) GTEST_SKIP() << "nothing can be held up";
  int32_t* gate = pinned_value();
  const auto event = make_event();
  const auto first = make_stream("first");
  const auto waiting = make_stream("waiting");
  first->record(*event);
  ASSERT_TRUE(first->synchronize(soon()).ok());
  waiting->wait(*event);
  GatedStream held(*under_test_, gate);
  held.stream().record(*event);  // a later record does not prolong the wait
  EXPECT_TRUE(waiting->synchronize(soon()).ok());
  EXPECT_FALSE(event->ready());
}

TEST_P(DeviceContract, ALaterRecordOnAnotherStreamDoesNotEndAWait) {
  if (!under_test_->is_asynchronous()) GTEST_SKIP() << "nothing can be held up";
  int32_t* gate = pinned_value();
  int32_t* value = device_value();
  const auto event = make_event();
  GatedStream held(*under_test_, gate);
  const auto other = make_stream("other");
  const auto waiting = make_stream("waiting");
  held.stream().record(*event);
  waiting->wait(*event);
  under_test_->add_one(*waiting, value);
  other->record(*event);
  ASSERT_TRUE(other->synchronize(soon()).ok());
  EXPECT_TRUE(event->wait(soon()).ok());  // the newest record is reached ...
  EXPECT_EQ(waiting->synchronize(Deadline::after_s(0.02)).code(), Code::kUnavailable);
  EXPECT_EQ(read(value), 0) << "... but the older one, which the stream waits for, is not";
  held.go();
  ASSERT_TRUE(waiting->synchronize(soon()).ok());
  EXPECT_EQ(read(value), 1);
}

TEST_P(DeviceContract, AStreamRunsItsWorkBeforeItEnds) {
  int32_t* value = device_value();
  {
    const auto stream = make_stream();
    for (int i = 0; i < 100; ++i) under_test_->add_one(*stream, value);
  }
  EXPECT_EQ(read(value), 100);
}

TEST_P(DeviceContract, MemoryIsZeroAlignedAndWritable) {
  Device& device = under_test_->device();
  const auto stream = make_stream();
  for (const MemoryKind kind : {MemoryKind::kDevice, MemoryKind::kPinned}) {
    for (const int64_t size : {int64_t{1}, int64_t{4097}, int64_t{3} << 20}) {
      const auto memory = device.allocate(size, kind, "test").value();
      EXPECT_EQ(memory->size_bytes(), size);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % 4096, 0U);
      std::vector<unsigned char> bytes(static_cast<size_t>(size), 7);
      stream->copy(bytes.data(), memory->data(), size);
      ASSERT_TRUE(stream->synchronize(soon()).ok());
      EXPECT_EQ(bytes, std::vector<unsigned char>(static_cast<size_t>(size), 0));
      const std::vector<unsigned char> written(static_cast<size_t>(size), 9);
      stream->copy(memory->data(), written.data(), size);
      stream->copy(bytes.data(), memory->data(), size);
      ASSERT_TRUE(stream->synchronize(soon()).ok());
      EXPECT_EQ(bytes, written);
    }
  }
}

TEST_P(DeviceContract, TooMuchMemoryIsRefusedByName) {
  Device& device = under_test_->device();
  const auto memory = device.allocate(int64_t{1} << 60, MemoryKind::kDevice, "activations");
  ASSERT_FALSE(memory.ok());
  EXPECT_EQ(memory.status().code(), kResourceExhausted);
  for (const char* part : {"activations", "1152921504606846976"}) {
    EXPECT_NE(memory.status().message().find(part), std::string::npos) << memory.status().message();
  }
  EXPECT_EQ(device.allocate(0, MemoryKind::kDevice, "nothing").status().code(), Code::kInternal);
  // The device goes on.
  EXPECT_TRUE(device.allocate(64, MemoryKind::kDevice, "a little").ok());
}

class OtherEvent : public Event {
 public:
  bool ready() const override { return true; }
  Status wait(Deadline) const override { return ok_status(); }
  Result<double> seconds_since(const Event&) const override { return 0.0; }
};

TEST_P(DeviceContract, EventsOfOtherDevicesAreRefused) {
  const auto stream = make_stream();
  OtherEvent event;
  EXPECT_THROW(stream->record(event), StatusError);
  EXPECT_THROW(stream->wait(event), StatusError);
}

}  // namespace

}  // namespace leasehold
