// Device memory that an object keeps for its calls, whichever stream they are enqueued on: each
// user waits, on the device, for the one before.
#pragma once

#include <cuda_runtime.h>
#include <memory>
#include <string>

#include "runtime/device/cuda_stream.h"

namespace leasehold {

class CudaScratch {
 public:
  static Result<std::unique_ptr<CudaScratch>> create(Device& device, int64_t size_bytes,
                                                     const std::string& purpose);
  ~CudaScratch();
  CudaScratch(const CudaScratch&) = delete;
  CudaScratch& operator=(const CudaScratch&) = delete;

  // The memory, for what is enqueued on `stream` until the next acquire. In a task of the stream;
  // by one host thread at a time.
  char* acquire(const CudaStream& stream);
  int64_t size_bytes() const { return memory_->size_bytes(); }

 private:
  CudaScratch() = default;

  std::unique_ptr<Memory> memory_;
  cudaEvent_t handed_over_ = nullptr;
  std::shared_ptr<CudaStreamState> user_;
};

}  // namespace leasehold
