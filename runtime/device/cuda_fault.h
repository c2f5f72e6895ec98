// What kernels say of bad data: a word in mapped, pinned memory, one a stream. A kernel that meets
// a token outside the vocabulary writes the word (a plain store of 8 bytes; of several faults any
// may be the one that stays) and computes something harmless; the stream turns the word into a
// Status where the host waits. Plain C++, read by the CUDA compiler too.
#pragma once

#include <cstdint>

namespace leasehold {

enum class CudaFault : uint32_t {
  kNone = 0,
  kToken = 1,   // embedding: a token outside the whole vocabulary
  kTarget = 2,  // cross_entropy: a target at or beyond the end of the whole vocabulary
};

// The fault in the upper half, the token or target in the lower; 0 means none.
using FaultWord = uint64_t;

constexpr FaultWord fault_word(CudaFault fault, int32_t value) {
  return FaultWord{static_cast<uint32_t>(fault)} << 32 | static_cast<uint32_t>(value);
}
constexpr CudaFault fault_of(FaultWord word) {
  return static_cast<CudaFault>(static_cast<uint32_t>(word >> 32));
}
constexpr int32_t fault_value(FaultWord word) {
  return static_cast<int32_t>(static_cast<uint32_t>(word));
}

}  // namespace leasehold
