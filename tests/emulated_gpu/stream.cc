#include "tests/emulated_gpu/stream.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <pthread.h>

#include "tests/emulated_gpu/annotate.h"
#include "tests/emulated_gpu/block_places.h"
#include "tests/emulated_gpu/device_state.h"
#include "tests/emulated_gpu/emulation.h"
#include "tests/emulated_gpu/grid.h"
#include "tests/emulated_gpu/host_touch.h"

namespace leasehold::emulation {
namespace {

constinit thread_local CUstream_st* t_stream = nullptr;

struct Streams {
  FutexMutex mutex;
  CUstream_st* all[4096];
  int count = 0;
  uint64_t created = 0;
};
Streams& streams() {
  static auto* live = new Streams;
  return *live;
}

uint64_t mix(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t x = a * 0x9E3779B97F4A7C15ULL + b * 0xBF58476D1CE4E5B9ULL + c;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ x >> 27) * 0x94D049BB133111EBULL;
  return x ^ x >> 31;
}

int64_t now_us() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000} + now.tv_nsec / 1000;
}

uint64_t add_stream(CUstream_st* stream) {
  FutexGuard guard(streams().mutex);
  if (streams().count == static_cast<int>(sizeof streams().all / sizeof streams().all[0])) {
    fprintf(stderr, "emulated GPU: more than 4096 streams\n");
    abort();
  }
  streams().all[streams().count++] = stream;
  return ++streams().created;
}

// Whether it was there.
bool remove_stream(CUstream_st* stream) {
  FutexGuard guard(streams().mutex);
  for (int i = 0; i < streams().count; ++i) {
    if (streams().all[i] != stream) continue;
    streams().all[i] = streams().all[--streams().count];
    return true;
  }
  return false;
}

class HostOperation : public Operation {
 public:
  explicit HostOperation(HostWork* work) : work_(work) {}
  ~HostOperation() override { delete work_; }
  bool takes_places() const override { return work_->takes_places(); }
  cudaError_t run(CUstream_st&) override { return work_->run(); }

 private:
  HostWork* work_;
};

}  // namespace

CUstream_st* usable_stream(cudaStream_t stream, const char* function) {
  if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) {
    report("%s on the default stream, which Leasehold never uses", function);
    return nullptr;
  }
  FutexGuard guard(streams().mutex);
  for (int i = 0; i < streams().count; ++i) {
    if (streams().all[i] != stream) continue;
    if (stream->device == current_device()) return stream;
    report("%s on a stream of device %d while device %d is current", function, stream->device,
           current_device());
    return nullptr;
  }
  report("%s on %p, which is no stream or a destroyed one", function, static_cast<void*>(stream));
  return nullptr;
}

void wait_for_device(int device) {
  // A stream may be destroyed while another is waited for, so one at a time, from the start.
  for (;;) {
    CUstream_st* busy = nullptr;
    {
      FutexGuard guard(streams().mutex);
      for (int i = 0; i < streams().count && busy == nullptr; ++i) {
        CUstream_st* stream = streams().all[i];
        if (stream->device == device && stream != t_stream && !stream->idle()) busy = stream;
      }
    }
    if (busy == nullptr) return;
    timespec pause{0, 20'000};
    nanosleep(&pause, nullptr);
  }
}

bool on_stream_thread() { return t_stream != nullptr; }

void take_places(int count) { t_stream->take_places(count, count); }
void give_back_places(int count) { t_stream->give_back_places(count); }

cudaError_t enqueue(cudaStream_t stream, HostWork* work) {
  auto* operation = new HostOperation(work);
  const auto fault = static_cast<cudaError_t>(device_state(current_device()).fault.load());
  CUstream_st* usable = fault == cudaSuccess ? usable_stream(stream, "enqueue") : nullptr;
  if (usable == nullptr) {
    delete operation;
    return remember(fault != cudaSuccess ? fault : cudaErrorInvalidResourceHandle);
  }
  usable->enqueue(operation);
  ++counts_of_thread().libraries;
  return cudaSuccess;
}

}  // namespace leasehold::emulation

using leasehold::emulation::FutexGuard;
using leasehold::emulation::Operation;

CUstream_st::CUstream_st(int on_device, int with_priority)
    : device(on_device), priority(with_priority), id(leasehold::emulation::add_stream(this)) {
  pthread_t thread;
  const int failed = pthread_create(
      &thread, nullptr,
      [](void* self) -> void* {
        static_cast<CUstream_st*>(self)->run();
        return nullptr;
      },
      this);
  if (failed != 0) {
    fprintf(stderr, "emulated GPU: no thread for a stream (error %d)\n", failed);
    abort();
  }
  pthread_detach(thread);
}

CUstream_st::~CUstream_st() { delete runner_; }

leasehold::emulation::GridRunner& CUstream_st::runner() {
  if (runner_ == nullptr) runner_ = new leasehold::emulation::GridRunner;
  return *runner_;
}

int CUstream_st::take_places(int least, int most) {
  leasehold::emulation::BlockPlaces& processors = leasehold::emulation::block_places_of(device);
  if (!claims_) processors.claim(priority);
  claims_ = false;
  return processors.take(priority, least, most);
}

void CUstream_st::give_back_places(int count) {
  {
    FutexGuard guard(mutex_);
    claims_ = first_ != nullptr && first_->takes_places();
  }
  leasehold::emulation::block_places_of(device).give_back(count, priority, claims_);
}

void CUstream_st::enqueue(Operation* operation, uint64_t* sequence) {
  FutexGuard guard(mutex_);
  operation->sequence = ++enqueued_;
  if (sequence != nullptr) *sequence = enqueued_;
  leasehold::emulation::order_release(operation);
  if (last_ == nullptr) {
    first_ = operation;
  } else {
    last_->next = operation;
  }
  last_ = operation;
  changed_.notify_all();
}

bool CUstream_st::idle() {
  FutexGuard guard(mutex_);
  wanted_ = enqueued_;
  if (completed_ != enqueued_) {
    changed_.notify_all();
    return false;
  }
  leasehold::emulation::order_acquire(&completed_);
  return true;
}

void CUstream_st::wait_until_idle() {
  FutexGuard guard(mutex_);
  const uint64_t until = enqueued_;
  wanted_ = until;
  changed_.notify_all();
  while (completed_ < until) changed_.wait(mutex_);
  leasehold::emulation::order_acquire(&completed_);
}

void CUstream_st::hurry(uint64_t sequence) {
  FutexGuard guard(mutex_);
  if (sequence <= wanted_) return;
  wanted_ = sequence;
  changed_.notify_all();
}

void CUstream_st::close() {
  FutexGuard guard(mutex_);
  closing_ = true;
  wanted_ = enqueued_;
  changed_.notify_all();
}

void CUstream_st::dawdle(uint64_t sequence) {
  const uint64_t seed = leasehold::emulation::seed();
  if (seed == 0) return;
  const uint64_t drawn = leasehold::emulation::mix(seed, id, sequence);
  if (drawn % 4 != 0) return;
  const int64_t until = leasehold::emulation::now_us() + (int64_t{20} << (drawn >> 8) % 9);
  FutexGuard guard(mutex_);
  for (;;) {
    const int64_t left = until - leasehold::emulation::now_us();
    if (wanted_ >= sequence || left <= 0) return;
    changed_.wait(mutex_, left);
  }
}

void CUstream_st::run() {
  leasehold::emulation::t_stream = this;
  leasehold::emulation::allow_device_touches(true);
  cudaSetDevice(device);
  for (;;) {
    mutex_.lock();
    while (first_ == nullptr && !closing_) changed_.wait(mutex_);
    Operation* operation = first_;
    if (operation == nullptr) {
      mutex_.unlock();
      delete this;
      return;
    }
    first_ = operation->next;
    if (first_ == nullptr) last_ = nullptr;
    mutex_.unlock();
    leasehold::emulation::order_acquire(operation);
    dawdle(operation->sequence);
    if (leasehold::emulation::device_state(device).fault == cudaSuccess ||
        operation->runs_after_fault()) {
      const cudaError_t error = operation->run(*this);
      if (error != cudaSuccess) leasehold::emulation::set_fault(device, error);
    } else if (claims_) {
      claims_ = false;
      leasehold::emulation::block_places_of(device).disclaim(priority);
    }
    const uint64_t sequence = operation->sequence;
    delete operation;
    FutexGuard guard(mutex_);
    leasehold::emulation::order_release(&completed_);
    completed_ = sequence;
    changed_.notify_all();
  }
}

using leasehold::emulation::begin_call;
using leasehold::emulation::remember;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const cudaError_t error = begin_call("cudaStreamCreateWithFlags");
  if (error != cudaSuccess) return error;
  *stream = new CUstream_st(leasehold::emulation::current_device(), 0);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int priority) {
  const cudaError_t error = begin_call("cudaStreamCreateWithPriority");
  if (error != cudaSuccess) return error;
  // As the runtime numbers them: 0 the lowest, the highest below; others become the nearest.
  constexpr int kHighest = leasehold::emulation::BlockPlaces::kPriorities - 1;
  const int level = priority > 0 ? 0 : (-priority > kHighest ? kHighest : -priority);
  *stream = new CUstream_st(leasehold::emulation::current_device(), level);
  return cudaSuccess;
}

// Returns at once; what was enqueued still runs.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (!leasehold::emulation::remove_stream(stream)) {
    leasehold::emulation::report("cudaStreamDestroy of %p, which is no stream",
                                 static_cast<void*>(stream));
    return remember(cudaErrorInvalidResourceHandle);
  }
  stream->close();
  return begin_call("cudaStreamDestroy");
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  CUstream_st* usable = leasehold::emulation::usable_stream(stream, "cudaStreamQuery");
  if (usable == nullptr) return remember(cudaErrorInvalidResourceHandle);
  const bool idle = usable->idle();
  leasehold::emulation::count_poll(stream, idle);
  const cudaError_t error = begin_call("cudaStreamQuery");
  if (error != cudaSuccess) return error;
  return idle ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  CUstream_st* usable = leasehold::emulation::usable_stream(stream, "cudaStreamSynchronize");
  if (usable == nullptr) return remember(cudaErrorInvalidResourceHandle);
  usable->wait_until_idle();
  return begin_call("cudaStreamSynchronize");
}
