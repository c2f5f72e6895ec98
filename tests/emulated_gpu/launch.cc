// Launches, copies and fills: what programs enqueue. Everything is checked where it is called, as
// CUDA does; what only shows while a kernel runs becomes a sticky fault of the device.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/emulated_gpu/block_places.h"
#include "tests/emulated_gpu/device_state.h"
#include "tests/emulated_gpu/emulation.h"
#include "tests/emulated_gpu/grid.h"
#include "tests/emulated_gpu/kernel.h"
#include "tests/emulated_gpu/stream.h"

// Where the compiler notes functions whose entry is preceded by no-operations. The dialect's twin
// writes __launch_bounds__(n) as n of them: so the bound can be read from the kernel's address.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" const unsigned char* const __start___patchable_function_entries[] __attribute__((weak));
extern "C" const unsigned char* const __stop___patchable_function_entries[] __attribute__((weak));
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace leasehold::emulation {
namespace {

constexpr int kDefaultDynamicBytes = 48 << 10;

struct Kernel {
  const void* address = nullptr;
  const KernelSignature* signature = nullptr;
  unsigned max_threads = 0;
  int max_dynamic_bytes[kMaxDevices] = {};
  bool loaded[kMaxDevices] = {};
};

struct Kernels {
  FutexMutex mutex;
  std::map<const void*, Kernel> known;
};
Kernels& kernels() {
  static auto* all = new Kernels;
  return *all;
}

unsigned launch_bound(const void* kernel) {
  const auto* entry = static_cast<const unsigned char*>(kernel);
  for (const auto* at = __start___patchable_function_entries;
       at != __stop___patchable_function_entries; ++at) {
    if (*at < entry && entry - *at <= 1024) {
      const auto* first = *at;
      while (first != entry && *first == 0x90) ++first;
      if (first == entry) return static_cast<unsigned>(entry - *at);
    }
  }
  return 1024;
}

// The caller holds the lock.
Kernel& kernel_at(const void* address) {
  Kernel& kernel = kernels().known[address];
  if (kernel.address == nullptr) {
    kernel.address = address;
    kernel.max_threads = launch_bound(address);
    for (int& bytes : kernel.max_dynamic_bytes) bytes = kDefaultDynamicBytes;
  }
  return kernel;
}

class LaunchOperation : public Operation {
 public:
  LaunchOperation(const Kernel& kernel, const cudaLaunchConfig_t& config, void** arguments)
      : signature_(kernel.signature), arguments_(kernel.signature->pack(arguments)) {
    launch_.kernel = kernel.address;
    launch_.invoke = kernel.signature->invoke;
    launch_.arguments = arguments_;
    launch_.grid = config.gridDim;
    launch_.block = config.blockDim;
    launch_.dynamic_bytes = config.dynamicSmemBytes;
  }
  ~LaunchOperation() override { signature_->destroy(arguments_); }
  bool takes_places() const override { return true; }
  cudaError_t run(CUstream_st& stream) override {
    const uint64_t blocks = uint64_t{launch_.grid.x} * launch_.grid.y * launch_.grid.z;
    const int most =
        blocks < BlockPlaces::kPlaces ? static_cast<int>(blocks) : BlockPlaces::kPlaces;
    const int taken = stream.take_places(1, most);
    const cudaError_t result = run_blocks(stream);
    stream.give_back_places(taken);
    return result;
  }

 private:
  cudaError_t run_blocks(CUstream_st& stream) {
    DeviceState& device = device_state(stream.device);
    if (device.launches.fetch_add(1) + 1 == device.fault_at) {
      return static_cast<cudaError_t>(device.fault_error.load());
    }
    const uint64_t order = seed();
    launch_.seed = order == 0 ? 0 : order * 1000003 + stream.id * 10007 + sequence;
    const LaunchOutcome outcome = stream.runner().run(launch_);
    if (outcome.error != cudaSuccess) {
      report("kernel at %p, grid (%u, %u, %u), block (%u, %u, %u): %s", launch_.kernel,
             launch_.grid.x, launch_.grid.y, launch_.grid.z, launch_.block.x, launch_.block.y,
             launch_.block.z, outcome.message);
      return outcome.error;
    }
    return device_memory_overrun(stream.device) ? cudaErrorIllegalAddress : cudaSuccess;
  }

  Launch launch_{};
  const KernelSignature* signature_;
  void* arguments_;
};

class CopyOperation : public Operation {
 public:
  CopyOperation(void* to, const void* from, size_t bytes) : to_(to), from_(from), bytes_(bytes) {}
  cudaError_t run(CUstream_st&) override {
    memcpy(to_, from_, bytes_);
    return cudaSuccess;
  }

 private:
  void* to_;
  const void* from_;
  size_t bytes_;
};

class FillOperation : public Operation {
 public:
  FillOperation(void* to, int value, size_t bytes) : to_(to), value_(value), bytes_(bytes) {}
  cudaError_t run(CUstream_st&) override {
    memset(to_, value_, bytes_);
    return cudaSuccess;
  }

 private:
  void* to_;
  int value_;
  size_t bytes_;
};

bool valid_shape(const cudaLaunchConfig_t& config) {
  const dim3 grid = config.gridDim;
  const dim3 block = config.blockDim;
  return grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffU && grid.y <= 65535 &&
         grid.z <= 65535 && block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 &&
         block.y <= 1024 && block.z <= 64 && uint64_t{block.x} * block.y * block.z <= 1024;
}

// Whether one end of a copy is where the kind says (`device`: 1 yes, 0 no, -1 either).
bool check_end(const void* memory, size_t bytes, int wants_device, const CUstream_st& stream,
               const char* function, const char* end) {
  const int owner = device_of_address(memory);
  if (owner < 0) {
    if (wants_device != 1) return true;
    report("%s: the %s %p is host memory, and the call says device", function, end, memory);
    return false;
  }
  if (wants_device == 0) {
    report("%s: the %s %p is device memory, and the call says host", function, end, memory);
    return false;
  }
  if (owner != stream.device) {
    report("%s: the %s %p is device %d's, the stream device %d's", function, end, memory, owner,
           stream.device);
    return false;
  }
  if (device_of_memory(memory, bytes) < 0) {
    report("%s: the %s, %zu bytes from %p, reaches past its allocation or was freed", function, end,
           bytes, memory);
    return false;
  }
  return true;
}

cudaError_t check_launch(const cudaLaunchConfig_t& config, const Kernel& kernel) {
  if (kernel.signature == nullptr) {
    report("a launch of %p, which launch() of dialect.h did not make", kernel.address);
    return cudaErrorInvalidDeviceFunction;
  }
  const dim3 block = config.blockDim;
  if (!valid_shape(config) || config.numAttrs != 0) {
    report("kernel at %p: no such launch: grid (%u, %u, %u), block (%u, %u, %u), %u attributes",
           kernel.address, config.gridDim.x, config.gridDim.y, config.gridDim.z, block.x, block.y,
           block.z, config.numAttrs);
    return cudaErrorInvalidConfiguration;
  }
  if (block.x * block.y * block.z > kernel.max_threads) {
    report("kernel at %p: %u threads a block, and its __launch_bounds__ say %u", kernel.address,
           block.x * block.y * block.z, kernel.max_threads);
    return cudaErrorLaunchOutOfResources;
  }
  const int allowed = kernel.max_dynamic_bytes[current_device()];
  if (config.dynamicSmemBytes > static_cast<size_t>(allowed)) {
    report("kernel at %p: %zu bytes of dynamic shared memory, and device %d allows it %d",
           kernel.address, config.dynamicSmemBytes, current_device(), allowed);
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

}  // namespace

void register_kernel(const void* kernel, const KernelSignature* signature) {
  FutexGuard guard(kernels().mutex);
  kernel_at(kernel).signature = signature;
}

}  // namespace leasehold::emulation

using leasehold::emulation::begin_call;
using leasehold::emulation::check_end;
using leasehold::emulation::FutexGuard;
using leasehold::emulation::Kernel;
using leasehold::emulation::remember;
using leasehold::emulation::usable_stream;

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  const cudaError_t error = begin_call("cudaFuncSetAttribute");
  if (error != cudaSuccess) return error;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) {
    return remember(cudaErrorNotSupported);
  }
  if (value < 0 || static_cast<size_t>(value) > leasehold::emulation::shared_limit()) {
    leasehold::emulation::report(
        "kernel at %p: %d bytes of shared memory asked for; the device has %zu", function, value,
        leasehold::emulation::shared_limit());
    return remember(cudaErrorInvalidValue);
  }
  FutexGuard guard(leasehold::emulation::kernels().mutex);
  leasehold::emulation::kernel_at(function)
      .max_dynamic_bytes[leasehold::emulation::current_device()] = value;
  return cudaSuccess;
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                void** arguments) {
  const cudaError_t error = begin_call("cudaLaunchKernelExC");
  if (error != cudaSuccess) return error;
  CUstream_st* stream = usable_stream(config->stream, "a kernel launch");
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  const int device = leasehold::emulation::current_device();
  Kernel kernel;
  {
    FutexGuard guard(leasehold::emulation::kernels().mutex);
    Kernel& known = leasehold::emulation::kernel_at(function);
    kernel = known;
    known.loaded[device] = true;
  }
  const cudaError_t invalid = leasehold::emulation::check_launch(*config, kernel);
  if (invalid != cudaSuccess) return remember(invalid);
  // A driver that loads lazily may wait for the whole device then.
  if (!kernel.loaded[device] && leasehold::emulation::loads_lazily()) {
    leasehold::emulation::wait_for_device(device);
  }
  ++leasehold::emulation::counts_of_thread().launches;
  stream->enqueue(new leasehold::emulation::LaunchOperation(kernel, *config, arguments));
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t on) {
  const cudaError_t error = begin_call("cudaMemcpyAsync");
  if (error != cudaSuccess) return error;
  CUstream_st* stream = usable_stream(on, "cudaMemcpyAsync");
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  const bool any = kind == cudaMemcpyDefault;
  const int to_device =
      any ? -1 : (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice ? 1 : 0);
  const int from_device =
      any ? -1 : (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice ? 1 : 0);
  if (!check_end(to, bytes, to_device, *stream, "cudaMemcpyAsync", "destination") ||
      !check_end(from, bytes, from_device, *stream, "cudaMemcpyAsync", "source")) {
    return remember(cudaErrorInvalidValue);
  }
  stream->enqueue(new leasehold::emulation::CopyOperation(to, from, bytes));
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t on) {
  const cudaError_t error = begin_call("cudaMemsetAsync");
  if (error != cudaSuccess) return error;
  CUstream_st* stream = usable_stream(on, "cudaMemsetAsync");
  if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return cudaSuccess;
  bool mapped = false;
  const bool pinned = leasehold::emulation::is_pinned(to, bytes, &mapped) && mapped;
  if (!pinned && !check_end(to, bytes, 1, *stream, "cudaMemsetAsync", "destination")) {
    return remember(cudaErrorInvalidValue);
  }
  stream->enqueue(new leasehold::emulation::FillOperation(to, value, bytes));
  return cudaSuccess;
}
