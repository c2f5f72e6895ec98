// Events. Each recording is an object of its own, so that recording an event again does not
// disturb who waits for the earlier one, and so that it orders only what stands before it.

#include <cstdint>
#include <ctime>

#include "tests/emulated_gpu/annotate.h"
#include "tests/emulated_gpu/device_state.h"
#include "tests/emulated_gpu/emulation.h"
#include "tests/emulated_gpu/stream.h"

using leasehold::emulation::begin_call;
using leasehold::emulation::EventRecord;
using leasehold::emulation::FutexGuard;
using leasehold::emulation::FutexMutex;
using leasehold::emulation::remember;

// NOLINTNEXTLINE(readability-identifier-naming)
struct CUevent_st {
  int device = 0;
  unsigned flags = 0;
  FutexMutex mutex;
  EventRecord* newest = nullptr;
};

namespace leasehold::emulation {

void release(EventRecord* record) {
  if (record != nullptr && record->owners.fetch_sub(1) == 1) delete record;
}

namespace {

// The newest recording, owned by the caller; null if there is none.
EventRecord* newest(CUevent_st* event) {
  FutexGuard guard(event->mutex);
  if (event->newest != nullptr) event->newest->owners.fetch_add(1);
  return event->newest;
}

// Whether it is done; else its stream is told to hurry.
bool poll(EventRecord* record) {
  FutexGuard guard(record->mutex);
  if (!record->done) {
    record->stream->hurry(record->sequence);
    return false;
  }
  order_acquire(record);
  return true;
}

class RecordOperation : public Operation {
 public:
  explicit RecordOperation(EventRecord* record) : record_(record) { record->owners.fetch_add(1); }
  ~RecordOperation() override { release(record_); }
  bool runs_after_fault() const override { return true; }
  cudaError_t run(CUstream_st&) override {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    FutexGuard guard(record_->mutex);
    order_release(record_);
    record_->time_ns = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
    record_->done = true;
    record_->changed.notify_all();
    return cudaSuccess;
  }

 private:
  EventRecord* record_;
};

class WaitOperation : public Operation {
 public:
  explicit WaitOperation(EventRecord* record) : record_(record) {}
  ~WaitOperation() override { release(record_); }
  cudaError_t run(CUstream_st&) override {
    wait_for(record_);
    return cudaSuccess;
  }

 private:
  EventRecord* record_;
};

}  // namespace

void wait_for(EventRecord* record) {
  if (poll(record)) return;
  FutexGuard guard(record->mutex);
  while (!record->done) record->changed.wait(record->mutex);
  order_acquire(record);
}

}  // namespace leasehold::emulation

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const cudaError_t error = begin_call("cudaEventCreateWithFlags");
  if (error != cudaSuccess) return error;
  *event = new CUevent_st;
  (*event)->device = leasehold::emulation::current_device();
  (*event)->flags = flags;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  leasehold::emulation::release(event->newest);
  delete event;
  return begin_call("cudaEventDestroy");
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const cudaError_t error = begin_call("cudaEventRecord");
  if (error != cudaSuccess) return error;
  CUstream_st* usable = leasehold::emulation::usable_stream(stream, "cudaEventRecord");
  if (usable == nullptr) return remember(cudaErrorInvalidResourceHandle);
  if (event->device != usable->device) {
    leasehold::emulation::report(
        "cudaEventRecord of an event of device %d on a stream of device %d", event->device,
        usable->device);
    return remember(cudaErrorInvalidResourceHandle);
  }
  ++leasehold::emulation::counts_of_thread().records;
  auto* record = new EventRecord;
  record->stream = usable;
  auto* operation = new leasehold::emulation::RecordOperation(record);
  EventRecord* old = nullptr;
  {
    FutexGuard guard(event->mutex);
    old = event->newest;
    event->newest = record;
    usable->enqueue(operation, &record->sequence);
  }
  leasehold::emulation::release(old);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const cudaError_t error = begin_call("cudaStreamWaitEvent");
  if (error != cudaSuccess) return error;
  CUstream_st* usable = leasehold::emulation::usable_stream(stream, "cudaStreamWaitEvent");
  if (usable == nullptr) return remember(cudaErrorInvalidResourceHandle);
  EventRecord* record = leasehold::emulation::newest(event);
  if (record != nullptr) usable->enqueue(new leasehold::emulation::WaitOperation(record));
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  EventRecord* record = leasehold::emulation::newest(event);
  const bool done = record == nullptr || leasehold::emulation::poll(record);
  leasehold::emulation::count_poll(event, done);
  leasehold::emulation::release(record);
  const cudaError_t error = begin_call("cudaEventQuery");
  if (error != cudaSuccess) return error;
  return done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  EventRecord* record = leasehold::emulation::newest(event);
  if (record != nullptr) leasehold::emulation::wait_for(record);
  leasehold::emulation::release(record);
  return begin_call("cudaEventSynchronize");
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const cudaError_t error = begin_call("cudaEventElapsedTime");
  if (error != cudaSuccess) return error;
  EventRecord* from = leasehold::emulation::newest(start);
  EventRecord* to = leasehold::emulation::newest(end);
  cudaError_t result = cudaSuccess;
  if (from == nullptr || to == nullptr ||
      ((start->flags | end->flags) & cudaEventDisableTiming) != 0) {
    result = remember(cudaErrorInvalidResourceHandle);
  } else if (!leasehold::emulation::poll(from) || !leasehold::emulation::poll(to)) {
    result = cudaErrorNotReady;
  } else {
    *milliseconds = static_cast<float>(static_cast<double>(to->time_ns - from->time_ns) * 1e-6);
  }
  leasehold::emulation::release(from);
  leasehold::emulation::release(to);
  return result;
}
