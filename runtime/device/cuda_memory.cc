#include "runtime/device/cuda_memory.h"

#include <cstring>
#include <utility>

#include "runtime/base/resource_exhausted.h"

namespace leasehold {

namespace {

constexpr int64_t kAlignmentBytes = 4096;

// Frees what cudaMalloc or cudaHostAlloc gave; `data` lies in it, aligned. Both wait for the whole
// device, so a device that hangs keeps its memory.
class CudaMemory : public Memory {
 public:
  CudaMemory(std::shared_ptr<CudaContext> context, MemoryKind kind, void* allocation,
             int64_t size_bytes)
      : context_(std::move(context)),
        kind_(kind),
        allocation_(allocation),
        size_bytes_(size_bytes) {
    const auto address = reinterpret_cast<uintptr_t>(allocation);
    const uintptr_t past = address % kAlignmentBytes;
    data_ = static_cast<char*>(allocation) + (past == 0 ? 0 : kAlignmentBytes - past);
  }
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;
  ~CudaMemory() override {
    if (!context_->settle_all()) return;
    if (kind_ == MemoryKind::kDevice) {
      cudaFree(allocation_);
    } else {
      cudaFreeHost(allocation_);
    }
  }
  void* data() const override { return data_; }
  int64_t size_bytes() const override { return size_bytes_; }

 private:
  std::shared_ptr<CudaContext> context_;
  MemoryKind kind_;
  void* allocation_;
  void* data_;
  int64_t size_bytes_;
};

Status no_memory(const CudaContext& context, int64_t size_bytes, MemoryKind kind,
                 const std::string& purpose, cudaError_t result) {
  if (result != cudaErrorMemoryAllocation) {
    return cuda_status(result, kind == MemoryKind::kDevice ? "cudaMalloc" : "cudaHostAlloc")
        .annotated(purpose);
  }
  if (kind == MemoryKind::kPinned) {
    return error(
        kResourceExhausted,
        "no pinned host memory for {} ({} bytes): the host is short of memory, or a limit on "
        "locked memory holds (ulimit -l)",
        purpose, size_bytes);
  }
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  LEASEHOLD_RETURN_IF_ERROR(cuda_status(cudaMemGetInfo(&free_bytes, &all_bytes), "cudaMemGetInfo"));
  return error(kResourceExhausted,
               "no memory for {} ({} bytes): {} has {} of its {} bytes free; use more ranks, a "
               "higher parallel.zero, parallel.recompute or a smaller batch.microbatch "
               "(leasehold-train --dry-run says what a rank needs)",
               purpose, size_bytes, context.name(), free_bytes, all_bytes);
}

// Zeroes device memory on a stream of its own: the default stream would wait for all others.
Status fill_with_zero(const CudaContext& context, void* data, int64_t size_bytes) {
  cudaStream_t stream = nullptr;
  cudaEvent_t done = nullptr;
  Status status = cuda_status(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
                              "cudaStreamCreateWithFlags");
  const auto attempt = [&](const auto& call, const char* name) {
    if (status.ok()) status = cuda_status(call(), name);
  };
  attempt([&] { return cudaEventCreateWithFlags(&done, cudaEventDisableTiming); },
          "cudaEventCreateWithFlags");
  attempt([&] { return cudaMemsetAsync(data, 0, static_cast<size_t>(size_bytes), stream); },
          "cudaMemsetAsync");
  attempt([&] { return cudaEventRecord(done, stream); }, "cudaEventRecord");
  if (status.ok()) {
    status = context.poll(done, Deadline::after_s(context.wait_limit_s()), "zeroing new memory");
  }
  if (done != nullptr) cudaEventDestroy(done);
  if (stream != nullptr) cudaStreamDestroy(stream);
  return status;
}

}  // namespace

Result<std::unique_ptr<Memory>> allocate_cuda_memory(const std::shared_ptr<CudaContext>& context,
                                                     int64_t size_bytes, MemoryKind kind,
                                                     const std::string& purpose) {
  if (size_bytes <= 0) return error(Code::kInternal, "{}: {} bytes asked for", purpose, size_bytes);
  LEASEHOLD_RETURN_IF_ERROR(context->make_current());
  // The runtime promises 256 bytes, the contract more.
  const auto padded = static_cast<size_t>(size_bytes) + kAlignmentBytes;
  void* allocation = nullptr;
  const cudaError_t result =
      kind == MemoryKind::kDevice
          ? cudaMalloc(&allocation, padded)
          : cudaHostAlloc(&allocation, padded, cudaHostAllocMapped | cudaHostAllocPortable);
  if (result != cudaSuccess) return no_memory(*context, size_bytes, kind, purpose, result);
  auto memory = std::make_unique<CudaMemory>(context, kind, allocation, size_bytes);
  if (kind == MemoryKind::kPinned) {
    std::memset(memory->data(), 0, static_cast<size_t>(size_bytes));
  } else {
    LEASEHOLD_RETURN_IF_ERROR(
        fill_with_zero(*context, memory->data(), size_bytes).annotated(purpose));
  }
  return std::unique_ptr<Memory>(std::move(memory));
}

}  // namespace leasehold
