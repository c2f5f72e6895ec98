// Device memory: one reserved range of addresses, a slice of it per device, so that "is this the
// device's?" is arithmetic. Pinned memory is the host's, kept in a list. New memory holds 0xFF;
// freed device memory is given back and, like the gaps between allocations, poisoned.

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/emulated_gpu/annotate.h"
#include "tests/emulated_gpu/device_state.h"
#include "tests/emulated_gpu/emulation.h"
#include "tests/emulated_gpu/host_touch.h"
#include "tests/emulated_gpu/processor.h"

namespace leasehold::emulation {
namespace {

constexpr size_t kAlignment = 512;
constexpr size_t kGap = 4096;
// Of the gaps, what is looked at after kernels; the address sanitizer sees all of them.
constexpr size_t kGuard = 256;
constexpr unsigned char kPattern = 0xFB;
constexpr size_t kPinnedAlignment = 4096;

// Not by mmap(): the sanitizers would clear shadow memory for all of it.
char* reserve() {
  const int64_t address =
      syscall(SYS_mmap, nullptr, kMaxDevices * kMaxDeviceBytes, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address < 0) {
    fprintf(stderr, "emulated GPU: no addresses for device memory\n");
    _exit(70);
  }
  guard_device_memory(static_cast<uintptr_t>(address), kMaxDevices * kMaxDeviceBytes);
  return std::bit_cast<char*>(address);
}

char* arena() {
  static char* const start = reserve();
  return start;
}

struct Pinned {
  FutexMutex mutex;
  std::map<uintptr_t, Allocation> allocations;
};
Pinned& pinned() {
  static auto* all = new Pinned;
  return *all;
}

// The allocation that holds the whole range, or null. The caller holds the lock.
const Allocation* holder(const std::map<uintptr_t, Allocation>& allocations, uintptr_t address,
                         size_t bytes) {
  auto after = allocations.upper_bound(address);
  if (after == allocations.begin()) return nullptr;
  --after;
  return address + bytes <= after->first + after->second.bytes ? &after->second : nullptr;
}

bool is_whole(const unsigned char* guard) {
  if (guard[0] != kPattern) return false;
  for (size_t i = 0; i < kGuard; i += sizeof(uint64_t)) {
    uint64_t word = 0;
    __builtin_memcpy(&word, guard + i, sizeof word);
    if (word != 0x0101010101010101ULL * kPattern) return false;
  }
  return true;
}

// First fit. 0: no room.
uintptr_t place(const DeviceState& state, uintptr_t base, size_t bytes) {
  uintptr_t at = base + kGap;
  for (const auto& [start, allocation] : state.allocations) {
    if (at + bytes + kGap <= start) break;
    at = (start + allocation.bytes + kGap + kAlignment - 1) / kAlignment * kAlignment;
  }
  return at + bytes + kGap <= base + kMaxDeviceBytes ? at : 0;
}

}  // namespace

int device_of_address(const void* address) {
  const auto offset = static_cast<size_t>(static_cast<const char*>(address) - arena());
  return offset < kMaxDevices * kMaxDeviceBytes ? static_cast<int>(offset / kMaxDeviceBytes) : -1;
}

int device_of_memory(const void* memory, size_t bytes) {
  const int device = device_of_address(memory);
  if (device < 0) return -1;
  DeviceState& state = device_state(device);
  FutexGuard guard(state.mutex);
  return holder(state.allocations, reinterpret_cast<uintptr_t>(memory), bytes) != nullptr ? device
                                                                                          : -1;
}

bool device_memory_overrun(int device) {
  if (kAsan) return false;
  DeviceState& state = device_state(device);
  FutexGuard guard(state.mutex);
  for (const auto& [start, allocation] : state.allocations) {
    auto* before = std::bit_cast<unsigned char*>(start) - kGuard;
    auto* after = std::bit_cast<unsigned char*>(start) + allocation.bytes;
    if (is_whole(before) && is_whole(after)) continue;
    report("device %d: somebody wrote right %s an allocation of %zu bytes at %#zx", device,
           is_whole(before) ? "after" : "before", allocation.bytes, static_cast<size_t>(start));
    fill_bytes(before, kPattern, kGuard);
    fill_bytes(after, kPattern, kGuard);
    return true;
  }
  return false;
}

bool is_pinned(const void* address, size_t bytes, bool* mapped) {
  FutexGuard guard(pinned().mutex);
  const Allocation* found =
      holder(pinned().allocations, reinterpret_cast<uintptr_t>(address), bytes);
  if (found != nullptr && mapped != nullptr) *mapped = found->mapped;
  return found != nullptr;
}

}  // namespace leasehold::emulation

using leasehold::emulation::Allocation;
using leasehold::emulation::begin_call;
using leasehold::emulation::current_device;
using leasehold::emulation::device_state;
using leasehold::emulation::DeviceState;
using leasehold::emulation::FutexGuard;
using leasehold::emulation::pinned;
using leasehold::emulation::remember;

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const cudaError_t error = begin_call("cudaMalloc");
  if (error != cudaSuccess) return error;
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  DeviceState& state = device_state(current_device());
  FutexGuard guard(state.mutex);
  if (state.used_bytes + static_cast<int64_t>(bytes) > state.limit_bytes) {
    return remember(cudaErrorMemoryAllocation);
  }
  const auto base = reinterpret_cast<uintptr_t>(
      leasehold::emulation::arena() + current_device() * leasehold::emulation::kMaxDeviceBytes);
  const uintptr_t start = leasehold::emulation::place(state, base, bytes);
  if (start == 0) return remember(cudaErrorMemoryAllocation);
  state.allocations[start].bytes = bytes;
  state.used_bytes += static_cast<int64_t>(bytes);
  *memory = std::bit_cast<void*>(start);
  leasehold::emulation::poison(static_cast<char*>(*memory) - leasehold::emulation::kGap,
                               bytes + 2 * leasehold::emulation::kGap);
  leasehold::emulation::unpoison(*memory, bytes);
  leasehold::emulation::fill_bytes(*memory, 0xFF, bytes);
  using leasehold::emulation::kGuard;
  using leasehold::emulation::kPattern;
  leasehold::emulation::fill_bytes(static_cast<char*>(*memory) - kGuard, kPattern, kGuard);
  leasehold::emulation::fill_bytes(static_cast<char*>(*memory) + bytes, kPattern, kGuard);
  return cudaSuccess;
}

// As CUDA does, waits for the device first.
cudaError_t cudaFree(void* memory) {
  const cudaError_t error = begin_call("cudaFree");
  if (error != cudaSuccess || memory == nullptr) return error;
  const int device = leasehold::emulation::device_of_address(memory);
  if (device < 0) {
    leasehold::emulation::report("cudaFree of %p, which is no device memory", memory);
    return remember(cudaErrorInvalidValue);
  }
  leasehold::emulation::wait_for_device(device);
  DeviceState& state = device_state(device);
  FutexGuard guard(state.mutex);
  const auto found = state.allocations.find(reinterpret_cast<uintptr_t>(memory));
  if (found == state.allocations.end()) {
    leasehold::emulation::report("cudaFree of %p, which was not allocated or is freed", memory);
    return remember(cudaErrorInvalidValue);
  }
  const size_t bytes = found->second.bytes;
  state.used_bytes -= static_cast<int64_t>(bytes);
  state.allocations.erase(found);
  leasehold::emulation::poison(memory, bytes);
  leasehold::emulation::fill_bytes(memory, 0xFF, bytes);
  // Whole pages go back to the system.
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(memory) + bytes) / page * page;
  if (first < last) madvise(std::bit_cast<void*>(first), last - first, MADV_DONTNEED);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const cudaError_t error = begin_call("cudaMemGetInfo");
  DeviceState& state = device_state(current_device());
  FutexGuard guard(state.mutex);
  *total_bytes = static_cast<size_t>(leasehold::emulation::settings().memory_bytes);
  const int64_t free = state.limit_bytes - state.used_bytes;
  *free_bytes = static_cast<size_t>(free > 0 ? free : 0);
  return error;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags) {
  const cudaError_t error = begin_call("cudaHostAlloc");
  if (error != cudaSuccess) return error;
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* start = nullptr;
  if (posix_memalign(&start, leasehold::emulation::kPinnedAlignment, bytes) != 0) {
    return remember(cudaErrorMemoryAllocation);
  }
  leasehold::emulation::fill_bytes(start, 0xFF, bytes);
  FutexGuard guard(pinned().mutex);
  pinned().allocations[reinterpret_cast<uintptr_t>(start)] =
      Allocation{bytes, (flags & cudaHostAllocMapped) != 0, false};
  *memory = start;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  const cudaError_t error = begin_call("cudaFreeHost");
  if (error != cudaSuccess || memory == nullptr) return error;
  leasehold::emulation::wait_for_device(current_device());
  {
    FutexGuard guard(pinned().mutex);
    const auto found = pinned().allocations.find(reinterpret_cast<uintptr_t>(memory));
    if (found == pinned().allocations.end() || found->second.registered) {
      leasehold::emulation::report("cudaFreeHost of %p, which cudaHostAlloc did not give", memory);
      return remember(cudaErrorInvalidValue);
    }
    pinned().allocations.erase(found);
  }
  free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  const cudaError_t error = begin_call("cudaHostGetDevicePointer");
  if (error != cudaSuccess) return error;
  bool mapped = false;
  if (!leasehold::emulation::is_pinned(host, 1, &mapped) || !mapped) {
    leasehold::emulation::report("cudaHostGetDevicePointer of %p, which is no mapped memory", host);
    return remember(cudaErrorInvalidValue);
  }
  *device = host;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const cudaError_t error = begin_call("cudaPointerGetAttributes");
  if (error != cudaSuccess) return error;
  *attributes = cudaPointerAttributes{};
  const int device = leasehold::emulation::device_of_memory(memory, 1);
  if (device >= 0) {
    attributes->type = cudaMemoryTypeDevice;
    attributes->device = device;
    attributes->devicePointer = const_cast<void*>(memory);
  } else if (bool mapped = false; leasehold::emulation::is_pinned(memory, 1, &mapped)) {
    attributes->type = cudaMemoryTypeHost;
    attributes->device = current_device();
    attributes->devicePointer = mapped ? const_cast<void*>(memory) : nullptr;
    attributes->hostPointer = const_cast<void*>(memory);
  } else {
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->device = -2;
    attributes->hostPointer = const_cast<void*>(memory);
  }
  return cudaSuccess;
}
