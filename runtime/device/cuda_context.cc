#include "runtime/device/cuda_context.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>

#include "runtime/base/broken_host.h"
#include "runtime/base/resource_exhausted.h"
#include "runtime/device/cuda_check.h"

namespace leasehold {

namespace {

// Returns what a failure means for the job: it may go on without this host, it does not fit, or
// there is a bug.
Code code_of(cudaError_t result) {
  switch (result) {
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorHardwareStackError:
      return kBrokenHost;
    case cudaErrorMemoryAllocation:
      return kResourceExhausted;
    default:
      return Code::kInternal;
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
  return error(code_of(result), "{} on CUDA device {}: {}: {}", call,
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
    if (result == cudaSuccess) return ok_status();  // without a message made for nothing
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

bool CudaContext::settle(cudaStream_t stream) const {
  if (hangs_ || !make_current().ok()) return false;
  const Deadline deadline = Deadline::after_s(wait_limit_s_);
  // A stream that answers with a fault has stopped: only one that still works is waited for.
  for (BackOff back_off; cudaStreamQuery(stream) == cudaErrorNotReady; back_off.pause()) {
    if (deadline.passed()) return false;
  }
  return true;
}

bool CudaContext::settle_all() {
  std::lock_guard lock(mutex_);
  for (cudaStream_t stream : streams_) {
    if (!settle(stream)) hangs_ = true;
  }
  return !hangs_;
}

CudaContext::~CudaContext() {
  if (!settle_all() || !make_current().ok()) return;
  for (void* page : fault_pages_) cudaFreeHost(page);
}

Result<CudaContext::FaultWordPlace> CudaContext::take_fault_word() {
  std::lock_guard lock(mutex_);
  if (free_fault_words_.empty()) LEASEHOLD_RETURN_IF_ERROR(allocate_fault_words());
  const FaultWordPlace place = free_fault_words_.back();
  free_fault_words_.pop_back();
  *place.host = 0;
  return place;
}

void CudaContext::give_back(const FaultWordPlace& place) {
  std::lock_guard lock(mutex_);
  free_fault_words_.push_back(place);
}

Status CudaContext::allocate_fault_words() {
  constexpr size_t kPageBytes = 4096;
  constexpr size_t kApartBytes = 64;  // a line of the cache each
  LEASEHOLD_RETURN_IF_ERROR(make_current());
  void* page = nullptr;
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaHostAlloc(&page, kPageBytes, cudaHostAllocMapped | cudaHostAllocPortable),
                  "cudaHostAlloc of fault words"));
  fault_pages_.push_back(page);
  void* seen_by_kernels = nullptr;
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaHostGetDevicePointer(&seen_by_kernels, page, 0), "cudaHostGetDevicePointer"));
  for (size_t at = 0; at < kPageBytes; at += kApartBytes) {
    auto* host = new (static_cast<char*>(page) + at) FaultWord{0};
    auto* device = reinterpret_cast<FaultWord*>(static_cast<char*>(seen_by_kernels) + at);
    free_fault_words_.push_back({host, device});
  }
  return ok_status();
}

}  // namespace leasehold
