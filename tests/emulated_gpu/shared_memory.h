// The shared memory of one block: an arena in which every array has a red zone before and after
// it. Under the address sanitizer these are poisoned; else they hold a pattern that must be found
// unchanged when the block ends. Arrays start as 0xFF, so that what nobody wrote reads as NaN.
#pragma once

#include <cstddef>

#include "tests/emulated_gpu/block.h"

namespace leasehold::emulation {

class SharedMemory {
 public:
  SharedMemory();  // throws std::bad_alloc
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // Empties it for a block with so many bytes of dynamic shared memory.
  void start_block(size_t dynamic_bytes);
  void* dynamic() const { return dynamic_; }
  // The array's memory in this block; null when it does not fit: kStaticLimit for arrays, or
  // kMaxArrays of them.
  void* array(const SharedArray& array);
  // Writes to `message` what is wrong with the red zones and returns true; false if nothing is.
  bool overrun(char* message, size_t message_bytes) const;
  // The range that arrays lie in, for those who ask whose memory an address is.
  const char* begin() const { return memory_; }
  const char* end() const;

  static constexpr size_t kStaticLimit = size_t{48} << 10;
  static constexpr int kMaxArrays = 32;

 private:
  struct Place {
    const SharedArray* array;  // null for the dynamic part
    char* start;
    size_t bytes;
  };
  char* guard(char* at);  // lays a red zone at `at` and returns its end
  bool zone_changed(const char* zone, size_t bytes, size_t* first) const;

  char* memory_ = nullptr;
  char* dynamic_ = nullptr;
  char* free_ = nullptr;  // after the last red zone
  size_t static_bytes_ = 0;
  int num_places_ = 0;
  Place places_[kMaxArrays + 1];
};

}  // namespace leasehold::emulation
