#include <cuda_runtime.h>
#include <vector>

#include "bench/stopwatch.h"
#include "runtime/device/cuda_check.h"
#include "runtime/device/cuda_stream.h"

namespace leasehold {

namespace {

class CudaStopwatch : public Stopwatch {
 public:
  CudaStopwatch() = default;
  ~CudaStopwatch() override {
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }
  CudaStopwatch(const CudaStopwatch&) = delete;
  CudaStopwatch& operator=(const CudaStopwatch&) = delete;

  size_t mark(Stream& stream) override {
    if (num_marks_ == events_.size()) {
      cudaEvent_t event = nullptr;
      check_cuda(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreateWithFlags");
      events_.push_back(event);
    }
    const cudaEvent_t event = events_[num_marks_];
    check_cuda(cudaEventRecord(event, CudaStream::from(stream).handle()), "cudaEventRecord");
    return num_marks_++;
  }

  double seconds_between(size_t from, size_t to) const override {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, events_[from], events_[to]),
               "cudaEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds);
  }

  void reset() override { num_marks_ = 0; }

 private:
  std::vector<cudaEvent_t> events_;
  size_t num_marks_ = 0;
};

}  // namespace

std::unique_ptr<Stopwatch> create_cuda_stopwatch() { return std::make_unique<CudaStopwatch>(); }

}  // namespace leasehold
