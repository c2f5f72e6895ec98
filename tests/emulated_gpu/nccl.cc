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
  cudaError_t run() override {
    while (hangs_ && !comm_.aborted) nap();
    if (!comm_.aborted) run_nccl_call(comm_, call_);
    return cudaSuccess;
  }
  static void* operator new(size_t bytes) { return std::malloc(bytes); }
  static void operator delete(void* memory) { std::free(memory); }

 private:
  ncclComm& comm_;
  NcclCall call_;
  bool hangs_;
};

// Whether NCCL has connected what the pending call needs: both ends have come to need it.
bool is_connected(const ncclComm& comm) {
  for (int i = 0; i < comm.pending.num_parts; ++i) {
    const NcclPart& part = comm.pending.parts[static_cast<size_t>(i)];
    const bool message = part.kind == NcclKind::kSend || part.kind == NcclKind::kRecv;
    for (int peer = 0; peer < comm.size; ++peer) {
      const NcclRankState& other = comm.membership.state(peer);
      if (message ? peer == part.peer && !other.met[comm.rank] : !other.met_all) return false;
    }
  }
  return true;
}

void meet(const ncclComm& comm, const NcclPart& part) {
  NcclRankState& own = comm.membership.state(comm.rank);
  if (part.kind == NcclKind::kSend || part.kind == NcclKind::kRecv) {
    own.met[part.peer] = true;
  } else {
    own.met_all = true;
  }
}

ncclResult_t enqueue_pending(ncclComm& comm, bool hangs) {
  comm.is_pending = false;
  int device = 0;
  (void)cudaGetDevice(&device);
  (void)cudaSetDevice(comm.device);
  const cudaError_t enqueued =
      enqueue(comm.pending.stream, new CallWork(comm, comm.pending, hangs));
  (void)cudaSetDevice(device);
  if (enqueued != cudaSuccess) comm.error = ncclUnhandledCudaError;
  return enqueued == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t issue(ncclComm& comm, const NcclCall& call) {
  if (comm.phase != ncclComm::Phase::kReady || comm.is_pending) {
    return refuse(ncclInvalidArgument, "%s: an operation while the communicator is in progress",
                  comm.name.c_str());
  }
  const NcclFault fault = take_nccl_fault(comm, comm.num_calls++);
  switch (fault) {
    case NcclFault::kSkip:
      return ncclSuccess;
    case NcclFault::kError:
      comm.error = ncclSystemError;
      std::snprintf(last_error, sizeof last_error, "%s: injected on rank %d", comm.name.c_str(),
                    comm.rank);
      return ncclInProgress;
    case NcclFault::kKill:
      ::kill(::getpid(), SIGKILL);
      break;
    default:
      break;
  }
  comm.pending = call;
  for (int i = 0; i < call.num_parts; ++i) meet(comm, call.parts[static_cast<size_t>(i)]);
  if (fault == NcclFault::kHang) return enqueue_pending(comm, true);
  comm.is_pending = true;
  constexpr int kMostLooks = 4;
  comm.looks_left = 1 + static_cast<int>((seed() * 7 + static_cast<uint64_t>(comm.num_calls)) %
                                         (seed() == 0 ? 1 : kMostLooks));
  return ncclInProgress;
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
  if (group.comm != comm || call.num_parts == NcclCall::kMaxParts ||
      (call.num_parts > 0 && call.stream != stream)) {
    group.error = refuse(ncclInvalidUsage, "%s: a group of several communicators or streams",
                         comm->name.c_str());
    return group.error;
  }
  call.stream = stream;
  call.parts[static_cast<size_t>(call.num_parts++)] = part;
  return alone ? issue(*comm, call) : ncclSuccess;
}

ncclResult_t look(ncclComm& comm) {
  NcclSegment& segment = comm.membership.segment();
  const int all = segment.error;
  if (comm.error != ncclSuccess) return static_cast<ncclResult_t>(comm.error.load());
  if (all != ncclSuccess && all != ncclInProgress) {
    std::snprintf(last_error, sizeof last_error, "%s", segment.error_text);
    return static_cast<ncclResult_t>(all);
  }
  switch (comm.phase) {
    case ncclComm::Phase::kMaking: {
      if (!comm.membership.all_joined()) return ncclInProgress;
      char text[128];
      if (*comm.membership.find_shared_device(text, sizeof text) != '\0') {
        comm.error = refuse(ncclInvalidUsage, "%s", text);
        return ncclInvalidUsage;
      }
      comm.phase = ncclComm::Phase::kReady;
      return ncclSuccess;
    }
    case ncclComm::Phase::kReady:
      if (!comm.is_pending) return ncclSuccess;
      if (comm.looks_left-- > 0 || !is_connected(comm)) return ncclInProgress;
      return enqueue_pending(comm, false);
    case ncclComm::Phase::kFinalizing:
      if (comm.num_enqueued > 0 || !comm.membership.others_reached(NcclStage::kFinalizing))
        return ncclInProgress;
      comm.phase = ncclComm::Phase::kFinalized;
      return ncclSuccess;
    case ncclComm::Phase::kFinalized:
      break;
  }
  return ncclSuccess;
}

void end(ncclComm* comm) {
  comm->membership.state(comm->rank).stage = NcclStage::kLeft;
  while (!comm->membership.others_reached(NcclStage::kLeft)) nap();
  while (comm->num_inside > 0) nap();
  delete comm;
  --num_communicators;
}

}  // namespace

int num_nccl_communicators() { return num_communicators; }

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
  if (config->blocking != 0)
    return refuse(ncclInvalidArgument, "only communicators that do not block are emulated");
  auto* comm = new ncclComm();
  comm->rank = rank;
  comm->size = num_ranks;
  comm->name = config->commName == nullptr ? "" : config->commName;
  (void)cudaGetDevice(&comm->device);
  const ncclResult_t joined = comm->membership.join(id, num_ranks, rank, comm->device);
  if (joined != ncclSuccess) {
    delete comm;
    return joined;
  }
  ++num_communicators;
  *made = comm;
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  if (comm == nullptr) return refuse(ncclInvalidArgument, "no communicator");
  const Inside inside(*comm);
  if (!inside.alone()) {
    return refuse(ncclInvalidUsage, "%s: two threads in one communicator", comm->name.c_str());
  }
  *error = look(*comm);
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  if (comm->phase != ncclComm::Phase::kReady || comm->is_pending || comm->error != ncclSuccess)
    return refuse(ncclInvalidArgument, "%s: ended while in progress", comm->name.c_str());
  comm->phase = ncclComm::Phase::kFinalizing;
  comm->membership.state(comm->rank).stage = NcclStage::kFinalizing;
  return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm->phase != ncclComm::Phase::kFinalized)
    return refuse(ncclInvalidUsage, "%s: destroyed without having been finalized: blocks",
                  comm->name.c_str());
  comm->membership.state(comm->rank).stage = NcclStage::kLeft;
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
