// Streams and events as the emulation's own files see them; emulation.h has what others need.
//
// A stream is a thread that takes operations off a list. With a seed it dawdles: before some
// operations it sleeps, until a drawn time is over or somebody wants what it has (a host that waits
// or asks, a stream that waits for its event). So work that nobody ordered behind it overtakes it,
// and a missing wait shows as a wrong result.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cuda_runtime.h>

#include "tests/emulated_gpu/futex.h"

namespace leasehold::emulation {

class GridRunner;

// What each call allocates, past operator new: Leasehold allocates nothing in its steps, and tests
// that count allocations mean the program's.
struct Uncounted {
  static void* operator new(size_t bytes) { return std::malloc(bytes); }
  static void operator delete(void* memory) { std::free(memory); }
};

class Operation : public Uncounted {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;
  // On the stream's thread. An error becomes the device's sticky fault.
  virtual cudaError_t run(CUstream_st& stream) = 0;
  // Returns true when it takes multiprocessors of the device.
  virtual bool takes_places() const { return false; }
  // Whether it runs on a device with a sticky fault.
  virtual bool runs_after_fault() const { return false; }

  Operation* next = nullptr;
  uint64_t sequence = 0;
};

// One recording of an event. Shared by the event, the operation that completes it, and who waits.
struct EventRecord : Uncounted {
  std::atomic<int> owners{1};
  FutexMutex mutex;
  FutexCondition changed;
  bool done = false;
  CUstream_st* stream = nullptr;  // valid until done
  uint64_t sequence = 0;          // of the operation that completes it
  int64_t time_ns = 0;            // when that was
};
void release(EventRecord* record);
// Waits until it is done, with what it orders; tells its stream to hurry.
void wait_for(EventRecord* record);

// The stream if work may be enqueued to it from the calling thread; else null, after a report that
// names `function`.
CUstream_st* usable_stream(cudaStream_t stream, const char* function);

}  // namespace leasehold::emulation

// The vendor's name for what cudaStream_t points at.
// NOLINTNEXTLINE(readability-identifier-naming)
struct CUstream_st {
  CUstream_st(int on_device, int with_priority);
  ~CUstream_st();
  CUstream_st(const CUstream_st&) = delete;
  CUstream_st& operator=(const CUstream_st&) = delete;

  // Takes ownership of `operation`. `sequence`, if not null, gets its number before the operation
  // can run.
  void enqueue(leasehold::emulation::Operation* operation, uint64_t* sequence = nullptr);
  // True when everything enqueued is done, with what that orders. Asks the stream to hurry.
  bool idle();
  void wait_until_idle();
  // Everything up to this operation is wanted.
  void hurry(uint64_t sequence);
  // No more work will come; the thread ends, and the stream with it, when all is done.
  void close();
  leasehold::emulation::GridRunner& runner();
  // By the stream's own thread, around what takes the device's multiprocessors.
  int take_places(int least, int most);
  void give_back_places(int count);

  const int device;
  const int priority;  // 0: the lowest
  const uint64_t id;   // in order of creation

 private:
  void run();
  void dawdle(uint64_t sequence);

  leasehold::emulation::FutexMutex mutex_;
  leasehold::emulation::FutexCondition changed_;
  leasehold::emulation::Operation* first_ = nullptr;
  leasehold::emulation::Operation* last_ = nullptr;
  uint64_t enqueued_ = 0;
  uint64_t completed_ = 0;
  uint64_t wanted_ = 0;
  bool closing_ = false;
  bool claims_ = false;  // has claimed processors for its next operation; of the stream's thread
  leasehold::emulation::GridRunner* runner_ = nullptr;
};
