// One allocation per family of tensors (activations, parameters, gradients, optimizer, ...), handed
// out front to back. Everything is allocated before step 0 and nothing inside a step. A measuring
// arena hands out tensors without memory, so that the code that allocates also tells the size
// beforehand.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/device/device.h"
#include "runtime/tensor/tensor.h"

namespace leasehold {

class Arena {
 public:
  static constexpr int64_t kAlignmentBytes = 256;

  // Counts only.
  static Arena measuring(const std::string& name);
  // Zero-filled memory of the device; kResourceExhausted, naming the arena and its size, when there
  // is not enough.
  static Result<Arena> create(Device& device, const std::string& name, int64_t capacity_bytes,
                              MemoryKind kind = MemoryKind::kDevice);

  // Throws StatusError when the capacity does not suffice: sizes are measured beforehand, so that
  // is a bug.
  Tensor allocate(DType dtype, const Shape& shape);

  // Stack discipline for scratch: what was allocated since `mark` may be handed out again.
  int64_t mark() const { return used_bytes_; }
  void release_to(int64_t mark);

  const std::string& name() const { return name_; }
  bool is_measuring() const { return memory_ == nullptr; }
  int64_t used_bytes() const { return used_bytes_; }
  int64_t peak_bytes() const { return peak_bytes_; }
  int64_t capacity_bytes() const { return capacity_bytes_; }

 private:
  Arena(std::string name, std::unique_ptr<Memory> memory, int64_t capacity_bytes);

  std::string name_;
  std::unique_ptr<Memory> memory_;
  int64_t capacity_bytes_ = 0;
  int64_t used_bytes_ = 0;
  int64_t peak_bytes_ = 0;
};

}  // namespace leasehold
