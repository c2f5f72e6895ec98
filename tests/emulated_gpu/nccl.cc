// The functions of nccl.h that Leasehold calls; nccl_emulation.h says what is emulated.
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <unistd.h>

#include "tests/emulated_gpu/nccl_communicator.h"
#include "tests/emulated_gpu/nccl_emulation.h"

namespace leasehold::emulation {

namespace {

std::atomic<int> num_communicators{0};
std::atomic<int> messages_per_group{2048};
std::atomic<int64_t> communicators_made{0}, operations{0}, bytes_read{0}, questions{0};

// The CTAs of an operation where the configuration says nothing, and the memory of the device that
// a communicator takes.
constexpr int kDefaultCtas = 16;
constexpr size_t kOwnBytes = size_t{1} << 20;
constexpr size_t kPeerBytesOfCta = size_t{16} << 10;

thread_local char last_error[256] = "";

ncclResult_t refuse(ncclResult_t result, const char* format, ...)
    __attribute__((format(printf, 2, 3)));
// A mistake of the program's.
ncclResult_t refuse(ncclResult_t result, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  report("NCCL: %s", last_error);
  return result;
}

void nap() {
  const timespec wait{0, 200'000};
  ::nanosleep(&wait, nullptr);
}

// Marks that a thread is inside a call of the communicator, which is for one at a time.
class Inside {
 public:
  explicit Inside(ncclComm& comm) : comm_(comm), alone_(comm.num_inside++ == 0) {}
  ~Inside() { --comm_.num_inside; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  bool alone() const { return alone_; }

 private:
  ncclComm& comm_;
  bool alone_;
};

// The calls between ncclGroupStart and ncclGroupEnd of a thread, for one communicator.
struct Group {
  int depth = 0;
  ncclComm* comm = nullptr;
  NcclCall call;
  ncclResult_t error = ncclSuccess;
};
thread_local Group group;

// Everything that NCCL does with a stream's thread. Lives in memory that no allocation counter
// sees.
class CallWork : public HostWork {
 public:
  CallWork(ncclComm& comm, const NcclCall& call, bool hangs)
      : comm_(comm), call_(call), hangs_(hangs) {
    ++comm.num_enqueued;
  }
  ~CallWork() override { --comm_.num_enqueued; }
  bool takes_places() const override { return true; }
  cudaError_t run() override {
    take_places(comm_.num_ctas);
    while (hangs_ && !comm_.aborted) nap();
    if (!comm_.aborted) run_nccl_call(comm_, call_);
    give_back_places(comm_.num_ctas);
    return cudaSuccess;
  }
  static void* operator new(size_t bytes) { return std::malloc(bytes); }
  static void operator delete(void* memory) { std::free(memory); }

 private:
  ncclComm& comm_;
  NcclCall call_;
  bool hangs_;
};

// Memory of the communicator's device, until the communicator ends.
ncclResult_t allocate(ncclComm& comm, size_t bytes) {
  int device = 0;
  (void)cudaGetDevice(&device);
  (void)cudaSetDevice(comm.device);
  void*& place = comm.memory[static_cast<size_t>(comm.num_memory)];
  const cudaError_t allocated = cudaMalloc(&place, bytes);
  if (allocated != cudaSuccess) (void)cudaGetLastError();
  (void)cudaSetDevice(device);
  if (allocated == cudaSuccess) {
    ++comm.num_memory;
    return ncclSuccess;
  }
  std::snprintf(last_error, sizeof last_error, "Cuda failure %d '%s'", allocated,
                cudaGetErrorString(allocated));
  comm.error = ncclUnhandledCudaError;
  return ncclUnhandledCudaError;
}

void free_memory(ncclComm& comm) {
  int device = 0;
  (void)cudaGetDevice(&device);
  (void)cudaSetDevice(comm.device);
  for (int i = 0; i < comm.num_memory; ++i) cudaFree(comm.memory[static_cast<size_t>(i)]);
  comm.num_memory = 0;
  (void)cudaSetDevice(device);
}

bool is_message(const NcclPart& part) {
  return part.kind == NcclKind::kSend || part.kind == NcclKind::kRecv;
}

// Returns true when both ends have come to need what the call needs, so that NCCL connects them.
bool is_connected(const ncclComm& comm, const NcclCall& call) {
  for (int i = 0; i < call.num_parts; ++i) {
    const NcclPart& part = call.parts[static_cast<size_t>(i)];
    for (int peer = 0; peer < comm.size; ++peer) {
      const NcclRankState& other = comm.membership.state(peer);
      if (is_message(part) ? peer == part.peer && !other.met[comm.rank] : !other.met_all)
        return false;
    }
  }
  return true;
}

// Says to the others what this rank needs, and takes the memory for what is new.
ncclResult_t meet(ncclComm& comm, const NcclPart& part) {
  NcclRankState& own = comm.membership.state(comm.rank);
  std::atomic<bool>& met = is_message(part) ? own.met[part.peer] : own.met_all;
  if (met) return ncclSuccess;
  const ncclResult_t allocated =
      allocate(comm, kPeerBytesOfCta * static_cast<size_t>(comm.num_ctas));
  if (allocated == ncclSuccess) met = true;
  return allocated;
}

// An error that this rank has, or all.
ncclResult_t error_of(const ncclComm& comm) {
  if (comm.error != ncclSuccess) return static_cast<ncclResult_t>(comm.error.load());
  const NcclSegment& segment = comm.membership.segment();
  const int all = segment.error;
  if (all == ncclSuccess || all == ncclInProgress) return ncclSuccess;
  std::snprintf(last_error, sizeof last_error, "%s", segment.error_text);
  return static_cast<ncclResult_t>(all);
}

// A process that is gone will never come.
void look_for_the_dead(const ncclComm& comm) {
  for (int peer = 0; peer < comm.size; ++peer) {
    if (!comm.membership.is_dead(peer)) continue;
    char text[120];
    std::snprintf(text, sizeof text, "%s: the process of rank %d is gone", comm.name.c_str(), peer);
    comm.membership.fail(ncclRemoteError, text);
  }
}

// Blocks until `done`; the error that comes before it.
template <typename Done>
ncclResult_t wait_for(ncclComm& comm, const Done& done) {
  while (!done()) {
    if (comm.aborted) return ncclInternalError;
    const ncclResult_t error = error_of(comm);
    if (error != ncclSuccess) return error;
    look_for_the_dead(comm);
    nap();
  }
  return ncclSuccess;
}

ncclResult_t enqueue_call(ncclComm& comm, const NcclCall& call, bool hangs) {
  int device = 0;
  (void)cudaGetDevice(&device);
  (void)cudaSetDevice(comm.device);
  const cudaError_t enqueued = enqueue(call.stream, new CallWork(comm, call, hangs));
  (void)cudaSetDevice(device);
  if (enqueued != cudaSuccess) comm.error = ncclUnhandledCudaError;
  return enqueued == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

void count(const ncclComm& comm, const NcclCall& call) {
  ++operations;
  for (int i = 0; i < call.num_parts; ++i) {
    const NcclPart& part = call.parts[static_cast<size_t>(i)];
    const bool reads = part.kind != NcclKind::kRecv &&
                       (part.kind != NcclKind::kBroadcast || part.peer == comm.rank);
    const size_t times = part.kind == NcclKind::kReduceScatter ? static_cast<size_t>(comm.size) : 1;
    if (reads)
      bytes_read += static_cast<int64_t>(times * part.count * size_of_nccl_type(part.type));
  }
}

ncclResult_t issue(ncclComm& comm, const NcclCall& call) {
  if (comm.phase != ncclComm::Phase::kReady) {
    return refuse(ncclInvalidArgument, "%s: an operation after the end", comm.name.c_str());
  }
  const NcclFault fault = take_nccl_fault(comm, comm.num_calls++);
  switch (fault) {
    case NcclFault::kSkip:
      return ncclSuccess;
    case NcclFault::kError:
      comm.error = ncclSystemError;
      std::snprintf(last_error, sizeof last_error, "%s: injected on rank %d", comm.name.c_str(),
                    comm.rank);
      return enqueue_call(comm, call, true);
    case NcclFault::kKill:
      ::kill(::getpid(), SIGKILL);
      break;
    default:
      break;
  }
  count(comm, call);
  for (int i = 0; i < call.num_parts; ++i) {
    const ncclResult_t met = meet(comm, call.parts[static_cast<size_t>(i)]);
    if (met != ncclSuccess) return met;
  }
  if (fault == NcclFault::kHang) return enqueue_call(comm, call, true);
  const ncclResult_t connected = wait_for(comm, [&] { return is_connected(comm, call); });
  return connected == ncclSuccess ? enqueue_call(comm, call, false) : connected;
}

bool on_device(const ncclComm& comm, const void* memory, size_t bytes) {
  return bytes == 0 || device_of_memory(memory, bytes) == comm.device;
}

ncclResult_t add(ncclComm_t comm, cudaStream_t stream, const NcclPart& part, size_t input_count,
                 size_t output_count) {
  if (comm == nullptr) return refuse(ncclInvalidArgument, "no communicator");
  const Inside inside(*comm);
  if (!inside.alone()) {
    return refuse(ncclInvalidUsage, "%s: two threads in one communicator", comm->name.c_str());
  }
  const size_t element = size_of_nccl_type(part.type);
  const bool by_rank = part.kind == NcclKind::kSend || part.kind == NcclKind::kRecv ||
                       part.kind == NcclKind::kBroadcast;
  if (element == 0 || (by_rank && (part.peer < 0 || part.peer >= comm->size))) {
    return refuse(ncclInvalidArgument, "%s: type %d, rank %d of %d", comm->name.c_str(),
                  static_cast<int>(part.type), part.peer, comm->size);
  }
  if (!on_device(*comm, part.input, input_count * element) ||
      !on_device(*comm, part.output, output_count * element)) {
    return refuse(ncclInvalidArgument, "%s: memory that is not of device %d", comm->name.c_str(),
                  comm->device);
  }
  const bool alone = group.depth == 0;
  if (alone) group = {.comm = comm};
  if (group.comm == nullptr) group.comm = comm;
  NcclCall& call = group.call;
  if (call.num_parts >= messages_per_group || call.num_parts == NcclCall::kMaxParts) {
    group.error = refuse(ncclInvalidUsage, "%s: more than %d messages in a group",
                         comm->name.c_str(), call.num_parts);
    return group.error;
  }
  if (group.comm != comm || (call.num_parts > 0 && call.stream != stream)) {
    group.error = refuse(ncclInvalidUsage, "%s: a group of several communicators or streams",
                         comm->name.c_str());
    return group.error;
  }
  call.stream = stream;
  call.parts[static_cast<size_t>(call.num_parts++)] = part;
  return alone ? issue(*comm, call) : ncclSuccess;
}

void end(ncclComm* comm) {
  comm->membership.state(comm->rank).stage = NcclStage::kLeft;
  while (!comm->membership.others_reached(NcclStage::kLeft)) nap();
  while (comm->num_inside > 0) nap();
  free_memory(*comm);
  delete comm;
  --num_communicators;
}

}  // namespace

int num_nccl_communicators() { return num_communicators; }

void set_nccl_messages_per_group(int most) { messages_per_group = most; }

NcclCounts nccl_counts() { return {communicators_made, operations, bytes_read, questions}; }

size_t size_of_nccl_type(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

namespace {

bool is_reducible(ncclDataType_t type, ncclRedOp_t operation) {
  const bool known =
      type == ncclInt32 || type == ncclInt64 || type == ncclFloat32 || type == ncclFloat64;
  return known && (operation == ncclSum || operation == ncclMax || operation == ncclMin);
}

}  // namespace

}  // namespace leasehold::emulation

using namespace leasehold::emulation;  // NOLINT(google-build-using-namespace)

extern "C" {

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t) { return last_error; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { return make_nccl_segment(id); }

ncclResult_t ncclCommInitRankConfig(ncclComm_t* made, int num_ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (config == nullptr || config->magic != 0xcafebeef || config->size != sizeof *config)
    return refuse(ncclInvalidArgument, "a configuration that was not initialised");
  if (config->blocking == 0)
    return refuse(ncclInvalidArgument, "only communicators that block are emulated");
  auto* comm = new ncclComm();
  comm->rank = rank;
  comm->size = num_ranks;
  comm->name = config->commName == nullptr ? "" : config->commName;
  comm->num_ctas =
      config->maxCTAs > 0 && config->maxCTAs < kDefaultCtas ? config->maxCTAs : kDefaultCtas;
  (void)cudaGetDevice(&comm->device);
  ncclResult_t result = comm->membership.join(id, num_ranks, rank, number_of_device(comm->device));
  if (result == ncclSuccess) {
    ++num_communicators;
    ++communicators_made;
    result = wait_for(*comm, [&] { return comm->membership.all_joined(); });
    char text[128];
    if (result == ncclSuccess && *comm->membership.find_shared_device(text, sizeof text) != '\0')
      result = refuse(ncclInvalidUsage, "%s", text);
    if (result == ncclSuccess) result = allocate(*comm, kOwnBytes);
    if (result != ncclSuccess) {
      comm->membership.state(rank).stage = NcclStage::kLeft;
      --num_communicators;
    }
  }
  if (result != ncclSuccess) {
    free_memory(*comm);
    delete comm;
    return result;
  }
  comm->phase = ncclComm::Phase::kReady;
  *made = comm;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  if (comm == nullptr) return refuse(ncclInvalidArgument, "no communicator");
  const Inside inside(*comm);
  if (!inside.alone()) {
    return refuse(ncclInvalidUsage, "%s: two threads in one communicator", comm->name.c_str());
  }
  ++questions;
  *error = error_of(*comm);
  return ncclSuccess;
}

// Blocks until the operations of all ranks are over.
ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const Inside inside(*comm);
  if (comm->phase != ncclComm::Phase::kReady || comm->error != ncclSuccess)
    return refuse(ncclInvalidArgument, "%s: ended in another state", comm->name.c_str());
  comm->membership.state(comm->rank).stage = NcclStage::kFinalizing;
  const ncclResult_t result = wait_for(*comm, [&] {
    return comm->num_enqueued == 0 && comm->membership.others_reached(NcclStage::kFinalizing);
  });
  if (result == ncclSuccess) comm->phase = ncclComm::Phase::kFinalized;
  return result;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm->phase != ncclComm::Phase::kFinalized)
    return refuse(ncclInvalidUsage, "%s: destroyed without having been finalized: blocks",
                  comm->name.c_str());
  comm->membership.state(comm->rank).stage = NcclStage::kLeft;
  free_memory(*comm);
  delete comm;
  --num_communicators;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->aborted = true;
  while (comm->num_enqueued > 0) nap();
  end(comm);
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  if (group.depth++ == 0) {
    group.comm = nullptr;
    group.call.num_parts = 0;
    group.error = ncclSuccess;
  }
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return refuse(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
  if (--group.depth > 0) return ncclSuccess;
  if (group.error != ncclSuccess || group.comm == nullptr) return group.error;
  const Inside inside(*group.comm);
  return issue(*group.comm, group.call);
}

ncclResult_t ncclAllReduce(const void* input, void* output, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream) {
  if (!is_reducible(type, operation)) return refuse(ncclInvalidArgument, "ncclAllReduce: type");
  return add(comm, stream, {NcclKind::kAllReduce, input, output, count, type, operation, -1}, count,
             count);
}

ncclResult_t ncclReduceScatter(const void* input, void* output, size_t count, ncclDataType_t type,
                               ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream) {
  if (!is_reducible(type, operation)) return refuse(ncclInvalidArgument, "ncclReduceScatter: type");
  const size_t ranks = comm == nullptr ? 1 : static_cast<size_t>(comm->size);
  return add(comm, stream, {NcclKind::kReduceScatter, input, output, count, type, operation, -1},
             count * ranks, count);
}

ncclResult_t ncclAllGather(const void* input, void* output, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  const size_t ranks = comm == nullptr ? 1 : static_cast<size_t>(comm->size);
  return add(comm, stream, {NcclKind::kAllGather, input, output, count, type, ncclSum, -1}, count,
             count * ranks);
}

ncclResult_t ncclBroadcast(const void* input, void* output, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  return add(comm, stream, {NcclKind::kBroadcast, input, output, count, type, ncclSum, root}, count,
             count);
}

ncclResult_t ncclSend(const void* input, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  return add(comm, stream, {NcclKind::kSend, input, nullptr, count, type, ncclSum, peer}, count, 0);
}

ncclResult_t ncclRecv(void* output, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add(comm, stream, {NcclKind::kRecv, nullptr, output, count, type, ncclSum, peer}, 0,
             count);
}

}  // extern "C"
