// A program for mpi_failures_test that runs one failing scenario under mpirun. Every rank prints
// the outcome of each operation in a line "rank N after T s: MESSAGE", and leaves as
// leasehold-train does: without MPI_Finalize.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "collectives/bootstrap.h"
#include "collectives/mpi.h"
#include "runtime/device/cpu_stream.h"

namespace leasehold {

namespace {

constexpr double kTimeoutS = 0.4;
constexpr double kLimitS = 20;

struct Rank {
  Communicator& world;
  Stream& stream;
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();

  bool is(int rank) const { return world.rank() == rank; }
  void sleep_s(double seconds) const {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }
  // Prints with a single write, so that lines of several ranks do not mix.
  void print(const std::string& message) const {
    const double elapsed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const std::string line =
        fmt::format("rank {} after {:.2f} s: {}\n", world.rank(), elapsed, message);
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) ::_exit(1);
  }
  void report(const Work& work) const {
    const Status status = work.wait(Deadline::after_s(kLimitS));
    print(status.ok() ? "ok" : status.message());
  }
};

Tensor view(std::vector<float>& values) {
  return Tensor(values.data(), DType::kF32, {static_cast<int64_t>(values.size())});
}

void all_reduce(Rank& rank, int64_t n = 4) {
  std::vector<float> data(static_cast<size_t>(n), 1);
  rank.report(rank.world.all_reduce(view(data), ReduceOp::kSum, rank.stream));
}

void broadcast(Rank& rank) {
  std::vector<float> data(3);
  rank.report(rank.world.broadcast(view(data), 0, rank.stream));
}

// Lets rank 1 lag: its main thread is busy elsewhere; its communication thread answers for it.
void laggard(Rank& rank) {
  broadcast(rank);
  if (rank.is(1)) rank.sleep_s(1.5);
  all_reduce(rank);
  all_reduce(rank);
}

void frozen(Rank& rank) {
  broadcast(rank);
  if (rank.is(1)) ::raise(SIGSTOP);
  all_reduce(rank);
}

void other_operation(Rank& rank) {
  if (rank.is(1)) {
    broadcast(rank);
  } else {
    all_reduce(rank, 100000);
  }
}

void other_size(Rank& rank) { all_reduce(rank, rank.is(1) ? 5 : 4); }

void gives_up(Rank& rank) {
  if (rank.is(1)) {
    rank.sleep_s(0.1);
    rank.world.abort(Status(Code::kStorage, "the disk is full"));
    rank.sleep_s(1);
  } else {
    all_reduce(rank);
  }
}

// Gives up a message: MPI cannot cancel a long one that nobody receives. Its memory may be released
// anyway.
void never_received(Rank& rank) {
  if (rank.is(1)) {
    rank.sleep_s(1.5);
    return;
  }
  {
    std::vector<float> data(4 << 20);
    rank.report(rank.world.send(view(data), 1, rank.stream));
  }
  auto part = rank.world.split(0, 0, "part");
  rank.print(part.ok() ? "ok" : part.status().message());
  rank.sleep_s(0.3);
}

void receive_without_sender(Rank& rank) {
  if (rank.is(1)) {
    broadcast(rank);
    rank.sleep_s(1);
    return;
  }
  broadcast(rank);
  std::vector<float> data(6);
  rank.report(rank.world.receive(view(data), 1, rank.stream));
}

// Runs without a failure: ranks find their places on their nodes, and MPI ends normally.
int bootstrap() {
  auto processes = ProcessGroup::create({.timeout_s = kLimitS});
  if (!processes.ok()) return processes.status().exit_code();
  ProcessGroup& group = **processes;
  const auto stream = create_inline_stream("test", kLimitS);
  const Rank rank{group.world(), *stream};
  rank.print(fmt::format("{} on {}: {} of {}, world of {}", rank.world.rank(), group.node(),
                         group.node_local_rank(), group.node_local_size(), rank.world.size()));
  return group.finish().exit_code();
}

const std::map<std::string, std::function<void(Rank&)>> kScenarios = {
    {"laggard", laggard},
    {"frozen", frozen},
    {"other_operation", other_operation},
    {"other_size", other_size},
    {"gives_up", gives_up},
    {"never_received", never_received},
    {"receive_without_sender", receive_without_sender},
};

int run(const std::string& name) {
  if (name == "bootstrap") return bootstrap();
  const auto scenario = kScenarios.find(name);
  if (scenario == kScenarios.end()) return 64;
  const char* node = std::getenv("LEASEHOLD_NODE");
  auto runtime = MpiRuntime::create(
      {.timeout_s = kTimeoutS, .answer_limit_s = 0.5, .node = node == nullptr ? "" : node});
  if (!runtime.ok()) return 70;
  const auto stream = create_inline_stream("test", kLimitS);
  Rank rank{(*runtime)->world(), *stream};
  scenario->second(rank);
  const Status finalized = (*runtime)->finalize();
  rank.print(finalized.ok() ? "finalized" : "not finalized: " + finalized.message());
  // mpirun ends the other ranks when one has left, so let them print first.
  if (!finalized.ok()) rank.sleep_s(0.5);
  return finalized.ok() ? 0 : 69;
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) {
  const int code = argc == 2 ? leasehold::run(argv[1]) : 64;
  ::_exit(code);
}
