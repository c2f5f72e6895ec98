// What the emulation knows of its devices, and the pieces of the runtime that share it.
#pragma once

#include <atomic>
#include <cstdint>
#include <cuda_runtime.h>
#include <map>

#include "tests/emulated_gpu/futex.h"

namespace leasehold::emulation {

constexpr int kMaxDevices = 8;
constexpr size_t kMaxDeviceBytes = size_t{16} << 30;

struct Settings {
  uint64_t seed = 0;
  int num_devices = kMaxDevices;
  int first_device = 0;  // the number that the first of them has for other processes
  int64_t memory_bytes = int64_t{2} << 30;
  int capability = 80;
  int fault_device = -1;
  int fault_launch = 0;
};
// From the environment, once. A value that cannot be read ends the process with a message.
const Settings& settings();
// Of dynamic and static shared memory of a block together, when a kernel asks for more than 48 KiB.
size_t shared_limit();

struct Allocation {
  size_t bytes = 0;
  bool mapped = true;  // of pinned memory: kernels may use it
  bool registered = false;
};

struct DeviceState {
  FutexMutex mutex;
  std::map<uintptr_t, Allocation> allocations;
  int64_t used_bytes = 0;
  int64_t limit_bytes = 0;
  std::atomic<int> fault{cudaSuccess};  // sticky
  std::atomic<int64_t> launches{0};
  std::atomic<int64_t> fault_at{-1};  // the launch that faults
  std::atomic<int> fault_error{cudaSuccess};
};
DeviceState& device_state(int device);

// The calling thread's current device.
int current_device();
// Remembers `error` for cudaGetLastError and returns it.
cudaError_t remember(cudaError_t error);
// An injected error for this call of the function, or the current device's sticky fault, or
// success. Every emulated function that can fail begins with it.
cudaError_t begin_call(const char* function);
// Returns true when kernels are loaded when they are first launched: as the environment said at the
// process's first call, when a driver reads it.
bool loads_lazily();
// For host_counts(), by the calling thread.
struct HostCounts;
HostCounts& counts_of_thread();
// The thread asked whether `what` is done.
void count_poll(const void* what, bool done);
// Makes `error` the device's sticky fault unless it has one.
void set_fault(int device, cudaError_t error);

// --- memory.cc ---
// The device that an address belongs to, allocated or not; -1: none. Thread-safe, no lock.
int device_of_address(const void* address);
// Whether it lies in pinned memory; `mapped` tells (if not null) whether kernels may use it.
bool is_pinned(const void* address, size_t bytes, bool* mapped);
// Whether something was written right before or after one of the device's allocations; reports it.
bool device_memory_overrun(int device);

// --- stream.cc ---
// Waits until all streams of the device have done what they were given.
void wait_for_device(int device);

}  // namespace leasehold::emulation
