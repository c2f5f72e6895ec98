#include "runtime/tensor/arena.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "runtime/base/resource_exhausted.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

namespace {

// What both kinds of arena are asked for.
std::vector<Tensor> allocate_some(Arena& arena) {
  return {arena.allocate(DType::kF32, {3, 5}), arena.allocate(DType::kU8, {1}),
          arena.allocate(DType::kF64, {0}), arena.allocate(DType::kBf16, {1000})};
}

TEST(Arena, MeasuringTellsWhatARealOneNeeds) {
  Arena measuring = Arena::measuring("test");
  for (const Tensor& tensor : allocate_some(measuring)) EXPECT_EQ(tensor.data(), nullptr);
  EXPECT_TRUE(measuring.is_measuring());

  auto device = CpuDevice::create({});
  Arena arena = Arena::create(*device, "test", measuring.used_bytes()).value();
  EXPECT_FALSE(arena.is_measuring());
  allocate_some(arena);
  EXPECT_EQ(arena.used_bytes(), measuring.used_bytes());
  EXPECT_EQ(arena.used_bytes(), arena.capacity_bytes());
}

TEST(Arena, TensorsAreAlignedZeroAndApart) {
  auto device = CpuDevice::create({});
  Arena arena = Arena::create(*device, "test", 8192).value();
  const auto tensors = allocate_some(arena);
  for (size_t i = 0; i < tensors.size(); ++i) {
    auto* bytes = static_cast<unsigned char*>(tensors[i].data());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes) % Arena::kAlignmentBytes, 0U);
    EXPECT_TRUE(std::all_of(bytes, bytes + tensors[i].size_bytes(),
                            [](unsigned char c) { return c == 0; }));
    std::fill_n(bytes, tensors[i].size_bytes(), static_cast<unsigned char>(i + 1));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto* bytes = static_cast<const unsigned char*>(tensors[i].data());
    EXPECT_TRUE(std::all_of(bytes, bytes + tensors[i].size_bytes(),
                            [i](unsigned char c) { return c == i + 1; }));
  }
}

TEST(Arena, ReleasedMemoryIsHandedOutAgainAndThePeakStays) {
  auto device = CpuDevice::create({});
  Arena arena = Arena::create(*device, "test", 4096).value();
  arena.allocate(DType::kF32, {10});
  const int64_t mark = arena.mark();
  const Tensor first = arena.allocate(DType::kF32, {500});
  const int64_t peak = arena.peak_bytes();
  arena.release_to(mark);
  EXPECT_EQ(arena.allocate(DType::kF32, {20}).data(), first.data());
  EXPECT_EQ(arena.peak_bytes(), peak);
  EXPECT_LT(arena.used_bytes(), peak);
  EXPECT_THROW(arena.release_to(peak), StatusError);
}

TEST(Arena, RefusesMoreThanItsCapacityAndNamesItself) {
  auto device = CpuDevice::create({});
  Arena arena = Arena::create(*device, "gradients", 1024).value();
  arena.allocate(DType::kF32, {128});
  try {
    arena.allocate(DType::kF32, {129});
    FAIL() << "allocated beyond the capacity";
  } catch (const StatusError& caught) {
    EXPECT_NE(std::string(caught.what()).find("gradients"), std::string::npos);
  }
}

TEST(Arena, NoMemoryIsAnErrorThatNamesTheArena) {
  auto device = CpuDevice::create({});
  const auto arena = Arena::create(*device, "activations", int64_t{1} << 60);
  ASSERT_FALSE(arena.ok());
  EXPECT_EQ(arena.status().code(), kResourceExhausted);
  EXPECT_NE(arena.status().message().find("activations"), std::string::npos);
}

}  // namespace

}  // namespace leasehold
