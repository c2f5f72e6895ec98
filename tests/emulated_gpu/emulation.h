// The emulated GPU as tests and the emulations of cuBLASLt and NCCL see it. Programs see only the
// vendor's headers: linking `leasehold_emulated_gpu` gives them the functions of the CUDA runtime
// that Leasehold calls, on devices that this process's processor plays. A function that is missing
// here is a link error.
//
// What is emulated: streams are threads, really asynchronous; events order only what they order;
// device memory is apart from host memory and starts as 0xFF; a kernel's blocks run one after the
// other, their threads as fibers (block.h); kernels and collectives share the device's places for
// blocks, by the priorities of their streams (block_places.h). What is not: performance, the memory
// model of the hardware, its rounding in approximate functions.
//
// Environment, read once:
//   LEASEHOLD_EMULATION_SEED         order of blocks, warps, lanes, and delays of streams; 0 or
//                                    unset: everything in order, without delays
//   LEASEHOLD_EMULATED_GPUS          how many devices there are (default 8, at most 8)
//   CUDA_VISIBLE_DEVICES             one of them, or consecutive ones
//   LEASEHOLD_EMULATED_GPU_MEMORY    bytes of each device (default 2 GiB, at most 16 GiB)
//   LEASEHOLD_EMULATED_GPU_CAPABILITY  80 (default), 90, 100 or 103
//   CUDA_MODULE_LOADING              EAGER, at the first call of CUDA: a kernel's first launch does
//                                    not wait for the device
//   LEASEHOLD_EMULATION_HEURISTICS   what cuBLASLt offers (enum Heuristics): a digit for each
//                                    device, the last one for all that follow
//   LEASEHOLD_EMULATION_FAULT        DEVICE:LAUNCHES: that device faults at that kernel launch
//                                    from now (1: the first)
#pragma once

#include <cstdint>
#include <cuda_runtime.h>
#include <string>

namespace leasehold::emulation {

// --- for emulations of libraries on top
// -----------------------------------------------------------

// Work on a stream's own thread, in order with its copies and kernels. Owned by the stream from
// enqueue() on. run() may block (a collective that waits for its peers); it is not called when the
// device has a sticky fault. An error that it returns becomes the device's sticky fault.
class HostWork {
 public:
  HostWork() = default;
  HostWork(const HostWork&) = delete;
  HostWork& operator=(const HostWork&) = delete;
  virtual ~HostWork() = default;
  virtual cudaError_t run() = 0;
  // Returns true when run() takes processors.
  virtual bool takes_places() const { return false; }
};
// For run(): waits until the stream gets so many of the device's places for blocks, of 64, by its
// priority; and returns them.
void take_places(int count);
void give_back_places(int count);
// cudaErrorInvalidResourceHandle, and `work` deleted, when `stream` is no stream of the calling
// thread's current device; the device's sticky fault if it has one.
cudaError_t enqueue(cudaStream_t stream, HostWork* work);

// Returns the number that `device` has for all processes, whichever of them they see.
int number_of_device(int device);
// The device whose memory holds all of [memory, memory + bytes) in one allocation, or -1.
int device_of_memory(const void* memory, size_t bytes);
// True when the calling thread is a stream's and not the program's.
bool on_stream_thread();

// Says on standard error, and to reports(), what the program did wrong.
void report(const char* format, ...) __attribute__((format(printf, 1, 2)));

// --- for tests
// ------------------------------------------------------------------------------------

// The order of everything that is launched from now on; see LEASEHOLD_EMULATION_SEED.
void set_seed(uint64_t seed);
uint64_t seed();
// Everything reported since the last call, one line each.
std::string take_reports();

// cudaMalloc on `device` fails (cudaErrorMemoryAllocation) where more bytes than this would be
// allocated at once.
void set_memory_limit(int device, int64_t bytes);
// The `nth` call from now (1: the next) of the function named, in the whole process, does nothing
// but return `error`: fail_call("cudaHostAlloc", 1, cudaErrorMemoryAllocation).
void fail_call(const char* function, int nth, cudaError_t error);
// `device` gets the sticky fault `error` instead of running its `nth` kernel launch from now.
void fault_at_launch(int device, int nth, cudaError_t error);
// Behaves as if the environment had said so when the driver started.
void set_lazy_loading(bool lazy);
// How many kernels `device` has been asked to run so far.
int64_t num_launches(int device);
// Counts of what a thread has asked of its devices.
struct HostCounts {
  int64_t launches = 0;   // of kernels
  int64_t libraries = 0;  // of what libraries enqueue: products, operations of NCCL
  int64_t records = 0;    // of events
  int64_t polls = 0;      // that were answered "not yet"
  int64_t waits = 0;      // as many of them as came first: how often the thread stood still
};
// Returns those of the calling thread so far.
HostCounts host_counts();
// What cuBLASLt offers first, which a driver or library of another version may change; by the
// number in LEASEHOLD_EMULATION_HEURISTICS.
enum class Heuristics : int {
  kFastestFirst,  // what a fast library might prefer
  kPlainFirst,    // one chain of additions before all others
  kWithoutTiles,  // as the first, but it does not have the tiled algorithm at all
};
void set_heuristics(int device, Heuristics heuristics);
// Ends injections and faults of all devices, as a new process would. Nothing may be enqueued.
void reset();

// Host threads that touch device memory end the process: host_touch.h.

}  // namespace leasehold::emulation
