// How a CUDA stream has failed, as far as the host knows: by what a call returned, by what a kernel
// left in the stream's fault word, or because a stream that it waited for has. Events keep the
// state of the stream that recorded them, so it may outlive the stream. Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/device/cuda_context.h"
#include "runtime/device/cuda_fault.h"

namespace leasehold {

class CudaStreamState {
 public:
  static Result<std::shared_ptr<CudaStreamState>> create(std::shared_ptr<CudaContext> context,
                                                         const std::string& name);
  ~CudaStreamState();
  CudaStreamState(const CudaStreamState&) = delete;
  CudaStreamState& operator=(const CudaStreamState&) = delete;

  // The fault word, as kernels see it.
  FaultWord* device_fault() const { return word_.device; }

  // The stream's handle while it is there, else null.
  cudaStream_t handle() const;
  void open(cudaStream_t handle);
  // The stream goes. `finished`: its work has ended, so that no kernel writes the fault word again.
  void close(bool finished);

  void fail(const Status& status);
  Status failure() const;
  // Looks at the fault words of this stream and of those that it waited for, directly or not; for
  // when the work in question is done. The first failure known then.
  Status find_failure();
  // The stream waits for work of `source`, whose failures are its own from now on.
  void depend_on(const std::shared_ptr<CudaStreamState>& source);

 private:
  explicit CudaStreamState(std::shared_ptr<CudaContext> context) : context_(std::move(context)) {}
  Status look_at_fault();
  // Those that `reached` does not hold yet.
  void add_sources_to(std::vector<std::shared_ptr<CudaStreamState>>& reached) const;

  std::shared_ptr<CudaContext> context_;
  CudaContext::FaultWordPlace word_;
  mutable std::mutex mutex_;
  cudaStream_t handle_ = nullptr;
  bool word_may_be_written_ = false;
  std::string prefix_;
  Status failure_;
  std::vector<std::weak_ptr<CudaStreamState>> sources_;
};

}  // namespace leasehold
