// A program for nccl_processes_test that runs one failing scenario: ranks under mpirun, each with
// an emulated device. Every rank prints the outcome of each operation in a line "rank N after T s:
// MESSAGE", and leaves as leasehold-train does.
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <string>
#include <thread>
#include <unistd.h>

#include "collectives/bootstrap.h"
#include "collectives/nccl.h"
#include "runtime/device/cuda.h"

namespace leasehold {

namespace {

constexpr double kHostTimeoutS = 20;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Prints with a single write, so that lines of several ranks do not mix.
void print(int rank, double since_s, const Status& status) {
  const std::string line = fmt::format("rank {} after {:.2f} s: {}\n", rank, now_s() - since_s,
                                       status.ok() ? "ok" : status.message());
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) ::_exit(1);
}

// Runs three all_reduces. In one scenario rank 1 freezes before the second. The environment injects
// all other failures.
int run(const std::string& name, double timeout_s) {
  auto processes = ProcessGroup::create({.timeout_s = kHostTimeoutS});
  if (!processes.ok()) return processes.status().exit_code();
  ProcessGroup& group = **processes;
  const int rank = group.world().rank();
  auto device = create_cuda_device(group.node_local_rank());
  if (!device.ok()) return device.status().exit_code();
  auto made = create_nccl_communicator(group.world(), **device, "world", timeout_s);
  if (!made.ok()) {
    print(rank, now_s(), made.status());
    return made.status().exit_code();
  }
  Communicator& world = **made;
  const auto stream = std::move((*device)->create_stream("communication")).value();
  const auto memory = std::move((*device)->allocate(64, MemoryKind::kDevice, "a test")).value();
  const Tensor data(memory->data(), DType::kF32, {16});
  const double begin_s = now_s();
  Status status;
  for (int i = 0; i < 3 && status.ok(); ++i) {
    if (i == 1 && rank == 1 && name == "frozen") ::raise(SIGSTOP);
    status = world.all_reduce(data, ReduceOp::kSum, *stream).wait(Deadline::after_s(kHostTimeoutS));
    print(rank, begin_s, status);
  }
  // mpirun ends the other ranks when one has left, so let them print first.
  std::this_thread::sleep_for(std::chrono::duration<double>(1));
  return status.exit_code();
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) {
  const int code = argc == 3 ? leasehold::run(argv[1], std::stod(argv[2])) : 64;
  ::_exit(code);
}
