#include "runtime/device/cuda_device.h"

#include <cstdlib>
#include <cuda.h>
#include <optional>
#include <string_view>

#include "runtime/base/check.h"
#include "runtime/device/cuda.h"
#include "runtime/device/cuda_context.h"
#include "runtime/device/cuda_event.h"
#include "runtime/device/cuda_memory.h"
#include "runtime/device/cuda_stream.h"

namespace leasehold {

namespace {

constexpr int kOldestArchitecture = 8;  // compute capability 8.0

class CudaDeviceImplementation : public CudaDevice {
 public:
  CudaDeviceImplementation(int index, double wait_limit_s, CudaDeviceProperties properties)
      : properties_(std::move(properties)),
        context_(std::make_shared<CudaContext>(
            index, fmt::format("cuda:{} {}", index, properties_.name), wait_limit_s)) {}

  DeviceKind kind() const override { return DeviceKind::kCuda; }
  const std::string& name() const override { return context_->name(); }
  int index() const override { return context_->index(); }
  const CudaDeviceProperties& properties() const override { return properties_; }
  const std::shared_ptr<CudaContext>& context() const override { return context_; }

  Result<std::unique_ptr<Stream>> create_stream(const std::string& name) override {
    return CudaStream::create(context_, name);
  }
  Result<std::unique_ptr<Event>> create_event() override { return CudaEvent::create(context_); }
  Result<std::unique_ptr<Event>> create_timed_event() override {
    return CudaEvent::create(context_, true);
  }
  Result<std::unique_ptr<Memory>> allocate(int64_t size_bytes, MemoryKind kind,
                                           const std::string& purpose) override {
    return allocate_cuda_memory(context_, size_bytes, kind, purpose);
  }

 private:
  CudaDeviceProperties properties_;
  std::shared_ptr<CudaContext> context_;
};

constexpr const char* kLoading = "CUDA_MODULE_LOADING";

// Returns how the driver loads kernels; nothing where it does not say.
Result<std::optional<CUmoduleLoadingMode>> loading_mode() {
  constexpr unsigned kSince = 11070;  // the version of CUDA that the function came with
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaGetDriverEntryPointByVersion("cuModuleGetLoadingMode", &function, kSince,
                                                   cudaEnableDefault, &found),
                  "cudaGetDriverEntryPointByVersion"));
  if (found != cudaDriverEntryPointSuccess || function == nullptr)
    return std::optional<CUmoduleLoadingMode>();
  CUmoduleLoadingMode mode{};
  const auto get = reinterpret_cast<CUresult (*)(CUmoduleLoadingMode*)>(function);
  if (get(&mode) != CUDA_SUCCESS) return std::optional<CUmoduleLoadingMode>();
  return std::optional(mode);
}

// Fails where the driver loads a kernel when it is first launched although the environment asks for
// all at once. Who writes LAZY into the environment has it so.
Status check_loading(const std::string& device) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto mode, loading_mode());
  const char* asked = std::getenv(kLoading);
  const bool asks_for_lazy = asked != nullptr && std::string_view(asked) != "EAGER";
  if (!mode || *mode != CU_MODULE_LAZY_LOADING || asks_for_lazy) return ok_status();
  return error(Code::kBadConfig,
               "device.kind = \"cuda\": {} loads kernels when they are first launched, which waits "
               "for those that run and may hang: the driver started before this program could set "
               "{}; start the ranks with {}=EAGER and CUDA_DEVICE_MAX_CONNECTIONS=32 in their "
               "environment (mpirun -x), or with {}=LAZY to have it so",
               device, kLoading, kLoading, kLoading);
}

// The number of devices that this process sees, or why there is none. The first call of CUDA.
Result<int> count_devices() {
  set_cuda_environment();
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result == cudaErrorInsufficientDriver) {
    return error(
        Code::kBadConfig,
        "device.kind = \"cuda\": this machine has no NVIDIA driver, or one older than CUDA {} "
        "wants; install one, or write \"cpu\"",
        CUDART_VERSION / 1000);
  }
  if (result == cudaErrorNoDevice || (result == cudaSuccess && count == 0)) {
    return error(
        Code::kBadConfig,
        "device.kind = \"cuda\": the driver shows no device (is CUDA_VISIBLE_DEVICES empty?); "
        "make one visible, or write \"cpu\"");
  }
  LEASEHOLD_RETURN_IF_ERROR(cuda_status(result, "cudaGetDeviceCount"));
  return count;
}

Result<CudaDeviceProperties> read_properties(int index) {
  cudaDeviceProp read{};
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaGetDeviceProperties(&read, index), "cudaGetDeviceProperties"));
  CudaDeviceProperties properties{.name = read.name,
                                  .compute_capability_major = read.major,
                                  .compute_capability_minor = read.minor,
                                  .num_multiprocessors = read.multiProcessorCount,
                                  .memory_bytes = static_cast<int64_t>(read.totalGlobalMem)};
  for (const char byte : read.uuid.bytes)
    properties.uuid += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaRuntimeGetVersion(&properties.runtime_version), "cudaRuntimeGetVersion"));
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaDriverGetVersion(&properties.driver_version), "cudaDriverGetVersion"));
  return properties;
}

}  // namespace

Result<std::unique_ptr<CudaDevice>> CudaDevice::create(const CudaDeviceOptions& options) {
  LEASEHOLD_ASSIGN_OR_RETURN(const int count, count_devices());
  const int index = options.node_local_rank;
  if (index < 0 || index >= count) {
    return error(
        Code::kBadConfig,
        "device.kind = \"cuda\": rank {} of this node wants device {}, and this process sees "
        "{}: give a node at most one slot per GPU, and let each rank see all of its GPUs or its "
        "own "
        "alone",
        index, index, count);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(CudaDeviceProperties properties, read_properties(index));
  if (properties.compute_capability_major < kOldestArchitecture) {
    return error(Code::kBadConfig,
                 "device.kind = \"cuda\": cuda:{} {} has compute capability {}.{}; the kernels are "
                 "built for {}.0 and newer; write \"cpu\"",
                 index, properties.name, properties.compute_capability_major,
                 properties.compute_capability_minor, kOldestArchitecture);
  }
  auto device = std::make_unique<CudaDeviceImplementation>(index, options.wait_limit_s,
                                                           std::move(properties));
  LEASEHOLD_RETURN_IF_ERROR(device->context()->make_current());
  LEASEHOLD_RETURN_IF_ERROR(check_loading(device->name()));
  return std::unique_ptr<CudaDevice>(std::move(device));
}

CudaDevice& CudaDevice::from(Device& device) {
  auto* cuda_device = dynamic_cast<CudaDevice*>(&device);
  LEASEHOLD_CHECK(cuda_device != nullptr, "device {} is no CUDA device", device.name());
  return *cuda_device;
}

bool cuda_built() { return true; }

Result<int> cuda_device_of_rank(int node_local_rank) {
  LEASEHOLD_ASSIGN_OR_RETURN(const int count, count_devices());
  return count == 1 ? 0 : node_local_rank;
}

std::string device_uuid(Device& device) {
  return device.kind() == DeviceKind::kCuda ? CudaDevice::from(device).properties().uuid : "";
}

// Without the first, the driver loads a kernel when it is first launched and waits for those that
// run: for ever where they wait for a peer that waits so too, and beyond any deadline where the
// device hangs. Without the second, streams share 8 queues of work, and what waits for a peer holds
// up streams that do not.
void set_cuda_environment() {
  constexpr int kKeep = 0;
  ::setenv(kLoading, "EAGER", kKeep);
  ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", kKeep);
}

Result<std::unique_ptr<Device>> create_cuda_device(int index, double wait_limit_s) {
  LEASEHOLD_ASSIGN_OR_RETURN(
      auto device, CudaDevice::create({.node_local_rank = index, .wait_limit_s = wait_limit_s}));
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace leasehold
