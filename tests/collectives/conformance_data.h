// Tools for the cases of the communicators' contract: arrays in the device's memory, and waits.
#pragma once

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

#include "tests/collectives/conformance.h"

namespace leasehold {

inline constexpr double kLimitS = 60;

inline std::unique_ptr<Stream> make_stream(ConformanceDevice& on, const char* name) {
  return std::move(on.device.create_stream(name)).value();
}

// An array in the device's memory.
template <typename T>
class Data {
 public:
  Data(ConformanceDevice& on, const std::vector<T>& values)
      : on_(on),
        size_(static_cast<int64_t>(values.size())),
        memory_(std::move(on.device.allocate(std::max<int64_t>(size_bytes(), 1),
                                             MemoryKind::kDevice, "a test"))
                    .value()) {
    set(values);
  }
  static Data zeros(ConformanceDevice& on, int64_t size) {
    return Data(on, std::vector<T>(static_cast<size_t>(size)));
  }

  Tensor view() const { return Tensor(memory_->data(), DTypeOf<T>::value, {size_}); }
  Tensor view(int64_t begin, int64_t count) const { return view().flat(begin, count); }
  // Copy, and wait for this copy alone.
  void set(const std::vector<T>& values) { copy(memory_->data(), values.data()); }
  std::vector<T> values() const {
    std::vector<T> copied(static_cast<size_t>(size_));
    copy(copied.data(), memory_->data());
    return copied;
  }

 private:
  int64_t size_bytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }
  void copy(void* to, const void* from) const {
    const auto stream = make_stream(on_, "test's copies");
    stream->copy(to, from, size_bytes());
    const Status status = stream->synchronize(Deadline::after_s(kLimitS));
    EXPECT_TRUE(status.ok()) << status.message();
  }

  ConformanceDevice& on_;
  int64_t size_;
  std::unique_ptr<Memory> memory_;
};

inline void expect_done(const Work& work) {
  const Status status = work.wait(Deadline::after_s(kLimitS));
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(work.ready());
}

// Sizes on both sides of the implementations' limits: nothing, one element, odd, a segment, several
// segments.
inline constexpr int64_t kSizes[] = {0, 1, 5, 1000, 20011};

// Cases in other files.
void conformance_bf16_moves(Communicator& group, ConformanceDevice& on);
void conformance_busy_time(Communicator& group, ConformanceDevice& on);

}  // namespace leasehold
