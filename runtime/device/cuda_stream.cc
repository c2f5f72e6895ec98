#include "runtime/device/cuda_stream.h"

#include "runtime/base/check.h"
#include "runtime/device/cuda_check.h"
#include "runtime/device/cuda_event.h"
#include "runtime/device/cuda_stream_state.h"

namespace leasehold {

namespace {

// Whether the runtime would copy by a blocking detour.
bool is_pageable(const void* memory) {
  cudaPointerAttributes attributes{};
  check_cuda(cudaPointerGetAttributes(&attributes, memory), "cudaPointerGetAttributes");
  return attributes.type == cudaMemoryTypeUnregistered;
}

}  // namespace

CudaStream& CudaStream::from(Stream& stream) {
  auto* cuda_stream = dynamic_cast<CudaStream*>(&stream);
  LEASEHOLD_CHECK(cuda_stream != nullptr, "stream {} is no CUDA stream", stream.name());
  return *cuda_stream;
}

CudaStream::CudaStream(std::shared_ptr<CudaContext> context, std::string name)
    : context_(std::move(context)),
      name_(std::move(name)),
      work_name_("the work of stream " + name_) {}

Result<std::unique_ptr<Stream>> CudaStream::create(const std::shared_ptr<CudaContext>& context,
                                                   const std::string& name) {
  std::unique_ptr<CudaStream> stream(new CudaStream(context, name));
  LEASEHOLD_RETURN_IF_ERROR(stream->create_handles());
  return std::unique_ptr<Stream>(std::move(stream));
}

Status CudaStream::create_handles() {
  LEASEHOLD_RETURN_IF_ERROR(context_->make_current());
  LEASEHOLD_ASSIGN_OR_RETURN(state_, CudaStreamState::create(context_, name_));
  int least = 0;
  int greatest = 0;
  LEASEHOLD_RETURN_IF_ERROR(cuda_status(cudaDeviceGetStreamPriorityRange(&least, &greatest),
                                        "cudaDeviceGetStreamPriorityRange"));
  // Compute goes last wherever blocks of both wait for a multiprocessor: a collective has few
  // of them, and all ranks wait for the last one's.
  const int priority = name_ == "compute" ? least : greatest;
  LEASEHOLD_RETURN_IF_ERROR(
      cuda_status(cudaStreamCreateWithPriority(&handle_, cudaStreamNonBlocking, priority),
                  "cudaStreamCreateWithPriority"));
  context_->add(handle_);
  state_->open(handle_);
  const auto create = [](cudaEvent_t* event) {
    return cuda_status(cudaEventCreateWithFlags(event, cudaEventDisableTiming),
                       "cudaEventCreateWithFlags");
  };
  LEASEHOLD_RETURN_IF_ERROR(create(&end_));
  for (cudaEvent_t& mark : marks_) LEASEHOLD_RETURN_IF_ERROR(create(&mark));
  return ok_status();
}

CudaStream::~CudaStream() {
  if (handle_ == nullptr) return;
  const bool finished = context_->settle(handle_);
  // What a kernel reported is kept for those who ask an event later.
  if (finished) (void)state_->find_failure();
  for (cudaEvent_t mark : marks_) {
    if (mark != nullptr) cudaEventDestroy(mark);
  }
  if (end_ != nullptr) cudaEventDestroy(end_);
  state_->close(finished);
  context_->remove(handle_);
  cudaStreamDestroy(handle_);
}

FaultWord* CudaStream::fault() const { return state_->device_fault(); }

void CudaStream::fail(const Status& status) { state_->fail(status); }

Status CudaStream::failure() const { return state_->failure(); }

bool CudaStream::prepare_to_enqueue() {
  if (!failure().ok()) return false;
  Status status = context_->make_current();
  if (status.ok() && ++num_tasks_ % kTasksPerMark == 0) status = wait_for_room();
  fail(status);
  return status.ok();
}

Status CudaStream::wait_for_room() {
  cudaEvent_t mark = marks_[num_tasks_ / kTasksPerMark % kMarks];
  LEASEHOLD_RETURN_IF_ERROR(
      context_->poll(mark, Deadline::after_s(context_->wait_limit_s()), work_name_));
  return cuda_status(cudaEventRecord(mark, handle_), "cudaEventRecord");
}

void CudaStream::record(Event& event) {
  CudaEvent& target = CudaEvent::from(event);
  // Recorded after a failure too: who waits for it shall find out, not hang.
  Status status = context_->make_current();
  if (status.ok())
    status = cuda_status(cudaEventRecord(target.handle(), handle_), "cudaEventRecord");
  fail(status);
  target.set_source(state_);
}

void CudaStream::wait(const Event& event) {
  const CudaEvent& awaited = CudaEvent::from(event);
  const auto source = awaited.source();
  if (source == nullptr) return;
  const Status known = source->failure();
  if (!known.ok()) fail(known);
  state_->depend_on(source);
  enqueue([&](cudaStream_t stream) {
    check_cuda(cudaStreamWaitEvent(stream, awaited.handle(), 0), "cudaStreamWaitEvent");
  });
}

void CudaStream::copy(void* to, const void* from, int64_t size_bytes) {
  if (size_bytes == 0) return;
  enqueue([&](cudaStream_t stream) {
    if (is_pageable(to) || is_pageable(from)) {
      throw_if_error(wait_for_work(Deadline::after_s(context_->wait_limit_s())));
    }
    check_cuda(
        cudaMemcpyAsync(to, from, static_cast<size_t>(size_bytes), cudaMemcpyDefault, stream),
        "cudaMemcpyAsync");
  });
}

void CudaStream::fill_zero(void* to, int64_t size_bytes) {
  if (size_bytes == 0) return;
  enqueue([&](cudaStream_t stream) {
    check_cuda(cudaMemsetAsync(to, 0, static_cast<size_t>(size_bytes), stream), "cudaMemsetAsync");
  });
}

Status CudaStream::wait_for_work(Deadline deadline) {
  LEASEHOLD_RETURN_IF_ERROR(context_->make_current());
  LEASEHOLD_RETURN_IF_ERROR(cuda_status(cudaEventRecord(end_, handle_), "cudaEventRecord"));
  return context_->poll(end_, deadline, work_name_);
}

Status CudaStream::synchronize(Deadline deadline) {
  const Status done = wait_for_work(deadline);
  if (done.ok()) return state_->find_failure();
  // A missed deadline is no failure of the stream; a fault of the device is.
  const bool late = done.code() == Code::kUnavailable && cudaEventQuery(end_) == cudaErrorNotReady;
  if (!late) fail(done);
  return failure().ok() ? done : failure();
}

}  // namespace leasehold
