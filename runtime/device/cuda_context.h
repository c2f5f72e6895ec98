// What a CUDA device's streams, events and memory share: which device it is, how long anything may
// wait for it, and whether it still answers. One per CudaDevice.
#pragma once

#include <atomic>
#include <cuda_runtime.h>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/base/clock.h"
#include "runtime/base/status.h"

namespace leasehold {

// The Status of a return of the CUDA runtime, as check_cuda() throws it.
Status cuda_status(cudaError_t result, const char* call);

class CudaContext {
 public:
  CudaContext(int index, std::string name, double wait_limit_s)
      : index_(index), name_(std::move(name)), wait_limit_s_(wait_limit_s) {}

  int index() const { return index_; }
  const std::string& name() const { return name_; }  // "cuda:0 NVIDIA GB300"
  double wait_limit_s() const { return wait_limit_s_; }

  // The calling thread's calls of CUDA mean this device from now on.
  Status make_current() const;

  // Polls until the event is reached, spinning briefly and then backing off. kUnavailable past the
  // deadline, saying that `what` did not end; a fault of the device as it is.
  Status poll(cudaEvent_t event, Deadline deadline, const std::string& what) const;

  // Streams in use: freeing memory waits for the device, so it first waits for them.
  void add(cudaStream_t stream);
  void remove(cudaStream_t stream);
  // True when all streams have run their work, within the limit; false means that nothing may be
  // freed any more, and stays so: a later call does not wait again.
  bool settle();

 private:
  int index_;
  std::string name_;
  double wait_limit_s_;
  std::mutex mutex_;
  std::vector<cudaStream_t> streams_;
  std::atomic<bool> hangs_{false};
};

}  // namespace leasehold
