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
#include "runtime/device/cuda_fault.h"

namespace leasehold {

// The Status of a return of the CUDA runtime, as check_cuda() throws it.
Status cuda_status(cudaError_t result, const char* call);

class CudaContext {
 public:
  CudaContext(int index, std::string name, double wait_limit_s)
      : index_(index), name_(std::move(name)), wait_limit_s_(wait_limit_s) {}
  ~CudaContext();
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  int index() const { return index_; }
  const std::string& name() const { return name_; }  // "cuda:0 NVIDIA GB300"
  double wait_limit_s() const { return wait_limit_s_; }

  // The calling thread's calls of CUDA mean this device from now on.
  Status make_current() const;

  // Polls until the event is reached, spinning briefly and then backing off. kUnavailable past the
  // deadline, saying that `what` did not end; a fault of the device as it is.
  Status poll(cudaEvent_t event, Deadline deadline, const std::string& what) const;

  // Polls until the stream has run its work, at most the limit; false past it.
  bool settle(cudaStream_t stream) const;

  // Streams in use: freeing memory waits for the device, so it first waits for them.
  void add(cudaStream_t stream);
  void remove(cudaStream_t stream);
  // True when all streams have run their work, within the limit; false means that nothing may be
  // freed any more, and stays so: a later call does not wait again.
  bool settle_all();

  // A fault word, zero, as the host and as kernels see it. Words are used again, not freed: that
  // would wait for the device.
  struct FaultWordPlace {
    FaultWord* host = nullptr;
    FaultWord* device = nullptr;
  };
  Result<FaultWordPlace> take_fault_word();
  void give_back(const FaultWordPlace& place);

 private:
  Status allocate_fault_words();

  int index_;
  std::string name_;
  double wait_limit_s_;
  std::mutex mutex_;
  std::vector<cudaStream_t> streams_;
  std::atomic<bool> hangs_{false};
  std::vector<void*> fault_pages_;
  std::vector<FaultWordPlace> free_fault_words_;
};

}  // namespace leasehold
