#include "runtime/device/cuda_context.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "runtime/device/cuda_check.h"

namespace leasehold {

namespace {

// Parts that break mean that the job goes on elsewhere, as after any lost node.
bool is_lost_hardware(cudaError_t result) {
  switch (result) {
    case cudaErrorMemoryAllocation:
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorHardwareStackError:
      return true;
    default:
      return false;
  }
}

// Waits a little longer each time: at once while the answer is microseconds away, and without
// taking a core from others where it is not.
class BackOff {
 public:
  void pause() {
    if (std::chrono::steady_clock::now() - begin_ < kSpin) return;
    std::this_thread::sleep_for(pause_);
    pause_ = std::min(2 * pause_, kLongest);
  }

 private:
  static constexpr std::chrono::microseconds kSpin{30};
  static constexpr std::chrono::microseconds kLongest{500};
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::microseconds pause_{10};
};

}  // namespace

Status cuda_status(cudaError_t result, const char* call) {
  if (result == cudaSuccess) return ok_status();
  int device = -1;
  const bool has_device = cudaGetDevice(&device) == cudaSuccess;
  return error(is_lost_hardware(result) ? Code::kUnavailable : Code::kInternal,
               "{} on CUDA device {}: {}: {}", call,
               has_device ? std::to_string(device) : "unknown", cudaGetErrorName(result),
               cudaGetErrorString(result));
}

void check_cuda(cudaError_t result, const char* call) { throw_if_error(cuda_status(result, call)); }

Status CudaContext::make_current() const {
  return cuda_status(cudaSetDevice(index_), "cudaSetDevice");
}

Status CudaContext::poll(cudaEvent_t event, Deadline deadline, const std::string& what) const {
  LEASEHOLD_RETURN_IF_ERROR(make_current());
  for (BackOff back_off;; back_off.pause()) {
    const bool late = deadline.passed();  // asked before the query: a last one follows the deadline
    const cudaError_t result = cudaEventQuery(event);
    if (result != cudaErrorNotReady) {
      return cuda_status(result, "cudaEventQuery").annotated(name_ + ", " + what);
    }
    if (late) return error(Code::kUnavailable, "{}: {} did not finish in time", name_, what);
  }
}

void CudaContext::add(cudaStream_t stream) {
  std::lock_guard lock(mutex_);
  streams_.push_back(stream);
}

void CudaContext::remove(cudaStream_t stream) {
  std::lock_guard lock(mutex_);
  std::erase(streams_, stream);
}

bool CudaContext::settle() {
  if (hangs_ || !make_current().ok()) return false;
  const Deadline deadline = Deadline::after_s(wait_limit_s_);
  std::lock_guard lock(mutex_);
  for (cudaStream_t stream : streams_) {
    // A stream that answers with a fault has stopped: only one that still works is waited for.
    for (BackOff back_off; cudaStreamQuery(stream) == cudaErrorNotReady; back_off.pause()) {
      if (deadline.passed()) {
        hangs_ = true;
        return false;
      }
    }
  }
  return true;
}

}  // namespace leasehold
