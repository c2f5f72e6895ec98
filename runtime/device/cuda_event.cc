#include "runtime/device/cuda_event.h"

#include "runtime/base/check.h"
#include "runtime/device/cuda_stream_state.h"

namespace leasehold {

CudaEvent& CudaEvent::from(Event& event) {
  auto* cuda_event = dynamic_cast<CudaEvent*>(&event);
  LEASEHOLD_CHECK(cuda_event != nullptr, "an event of another device on a CUDA stream");
  return *cuda_event;
}

const CudaEvent& CudaEvent::from(const Event& event) { return from(const_cast<Event&>(event)); }

Result<std::unique_ptr<Event>> CudaEvent::create(const std::shared_ptr<CudaContext>& context,
                                                 bool timed) {
  LEASEHOLD_RETURN_IF_ERROR(context->make_current());
  std::unique_ptr<CudaEvent> event(new CudaEvent(context, timed));
  const unsigned flags = timed ? cudaEventDefault : cudaEventDisableTiming;
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaEventCreateWithFlags(&event->handle_, flags), "cudaEventCreateWithFlags"));
  return std::unique_ptr<Event>(std::move(event));
}

CudaEvent::~CudaEvent() {
  if (handle_ != nullptr) cudaEventDestroy(handle_);
}

void CudaEvent::set_source(std::shared_ptr<CudaStreamState> source) {
  std::lock_guard lock(mutex_);
  source_ = std::move(source);
}

std::shared_ptr<CudaStreamState> CudaEvent::source() const {
  std::lock_guard lock(mutex_);
  return source_;
}

// A fault is an answer too: wait() tells it.
bool CudaEvent::ready() const {
  return source() == nullptr || !context_->make_current().ok() ||
         cudaEventQuery(handle_) != cudaErrorNotReady;
}

Status CudaEvent::wait(Deadline deadline) const {
  const auto source = this->source();
  if (source == nullptr) return ok_status();
  const Status reached = context_->poll(handle_, deadline, "an event");
  if (!reached.ok()) return source->failure().ok() ? reached : source->failure();
  return source->find_failure();
}

Result<double> CudaEvent::seconds_since(const Event& earlier) const {
  const CudaEvent& from = CudaEvent::from(earlier);
  if (!timed_ || !from.timed_)
    return error(Code::kInternal, "an event that takes no times was asked for one");
  if (source() == nullptr || from.source() == nullptr)
    return error(Code::kInternal, "an event was never recorded and has no time");
  LEASEHOLD_RETURN_IF_ERROR(context_->make_current());
  float milliseconds = 0;
  const cudaError_t result = cudaEventElapsedTime(&milliseconds, from.handle_, handle_);
  if (result == cudaErrorNotReady) return error(Code::kUnavailable, "an event is not reached yet");
  LEASEHOLD_RETURN_IF_ERROR(cuda_status(result, "cudaEventElapsedTime"));
  return static_cast<double>(milliseconds) * 1e-3;
}

}  // namespace leasehold
