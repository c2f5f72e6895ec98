#include "runtime/device/cuda_scratch.h"

#include "runtime/device/cuda_check.h"
#include "runtime/device/cuda_stream_state.h"

namespace leasehold {

Result<std::unique_ptr<CudaScratch>> CudaScratch::create(Device& device, int64_t size_bytes,
                                                         const std::string& purpose) {
  std::unique_ptr<CudaScratch> scratch(new CudaScratch);
  LEASEHOLD_ASSIGN_OR_RETURN(scratch->memory_,
                             device.allocate(size_bytes, MemoryKind::kDevice, purpose));
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaEventCreateWithFlags(&scratch->handed_over_, cudaEventDisableTiming),
                  "cudaEventCreateWithFlags"));
  return scratch;
}

CudaScratch::~CudaScratch() {
  if (handed_over_ != nullptr) cudaEventDestroy(handed_over_);
}

char* CudaScratch::acquire(const CudaStream& stream) {
  if (user_ != stream.state()) {
    // A stream that is gone has waited for its work. One that failed is ordered all the same: what
    // it enqueued before may still run.
    cudaStream_t before = user_ == nullptr ? nullptr : user_->handle();
    if (before != nullptr) {
      check_cuda(cudaEventRecord(handed_over_, before), "cudaEventRecord");
      check_cuda(cudaStreamWaitEvent(stream.handle(), handed_over_, 0), "cudaStreamWaitEvent");
    }
    user_ = stream.state();
  }
  return static_cast<char*>(memory_->data());
}

}  // namespace leasehold
