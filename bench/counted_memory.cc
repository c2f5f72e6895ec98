#include "bench/counted_memory.h"

#include <atomic>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace {

std::atomic<int64_t> live_bytes{0}, peak_bytes{0};

}  // namespace

void* operator new(size_t size) {
  void* const memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  const int64_t now = live_bytes += static_cast<int64_t>(malloc_usable_size(memory));
  if (now > peak_bytes) peak_bytes = now;
  return memory;
}

void operator delete(void* memory) noexcept {
  live_bytes -= static_cast<int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

namespace leasehold {

int64_t reset_peak_memory() {
  peak_bytes = live_bytes.load();
  return live_bytes;
}

int64_t peak_memory() { return peak_bytes; }

}  // namespace leasehold
