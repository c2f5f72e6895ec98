#include "runtime/tensor/arena.h"

#include <algorithm>
#include <limits>

namespace leasehold {

Arena::Arena(std::string name, std::unique_ptr<Memory> memory, int64_t capacity_bytes)
    : name_(std::move(name)), memory_(std::move(memory)), capacity_bytes_(capacity_bytes) {}

Arena Arena::measuring(const std::string& name) {
  return {name, nullptr, std::numeric_limits<int64_t>::max()};
}

Result<Arena> Arena::create(Device& device, const std::string& name, int64_t capacity_bytes,
                            MemoryKind kind) {
  // An empty family still gets memory, so that a measuring arena is told apart by having none.
  const int64_t size_bytes = std::max(capacity_bytes, kAlignmentBytes);
  LEASEHOLD_ASSIGN_OR_RETURN(auto memory, device.allocate(size_bytes, kind, name));
  return Arena(name, std::move(memory), size_bytes);
}

Tensor Arena::allocate(DType dtype, const Shape& shape) {
  const int64_t size_bytes = shape.num_elements() * size_of(dtype);
  const int64_t padded_bytes =
      (size_bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
  LEASEHOLD_CHECK(padded_bytes <= capacity_bytes_ - used_bytes_,
                  "arena {}: {} bytes more than its {} ({} used)", name_, padded_bytes,
                  capacity_bytes_, used_bytes_);
  void* data = memory_ == nullptr ? nullptr : static_cast<char*>(memory_->data()) + used_bytes_;
  used_bytes_ += padded_bytes;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
  return {data, dtype, shape};
}

void Arena::release_to(int64_t mark) {
  LEASEHOLD_CHECK(mark >= 0 && mark <= used_bytes_, "arena {}: mark {} beyond {}", name_, mark,
                  used_bytes_);
  used_bytes_ = mark;
}

}  // namespace leasehold
