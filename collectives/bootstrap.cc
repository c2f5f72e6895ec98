#include "collectives/bootstrap.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <unistd.h>

#include "collectives/mpi.h"
#include "collectives/mpi_library.h"
#include "collectives/self.h"

namespace leasehold {

namespace {

class SelfProcessGroup : public ProcessGroup {
 public:
  explicit SelfProcessGroup(std::string node)
      : world_(create_self_communicator("world")), nodes_{std::move(node)} {}
  Communicator& world() override { return *world_; }
  const std::vector<std::string>& nodes() const override { return nodes_; }
  Status finish() override { return world_->health(); }
  void give_up(int) override {}

 private:
  std::unique_ptr<Communicator> world_;
  std::vector<std::string> nodes_;
};

class MpiProcessGroup : public ProcessGroup {
 public:
  explicit MpiProcessGroup(std::unique_ptr<MpiRuntime> runtime) : runtime_(std::move(runtime)) {}
  Communicator& world() override { return runtime_->world(); }
  const std::vector<std::string>& nodes() const override { return runtime_->nodes(); }
  Status finish() override { return runtime_->finalize(); }
  void give_up(int exit_code) override {
    if (mpi_library_is_mpich()) MpiRuntime::abort(exit_code);
  }

 private:
  std::unique_ptr<MpiRuntime> runtime_;
};

// Returns the name that the caller or LEASEHOLD_NODE gives; "" if neither does.
std::string given_name(const std::string& wanted) {
  const char* node = std::getenv("LEASEHOLD_NODE");
  return wanted.empty() && node != nullptr ? node : wanted;
}

std::string machine_name() {
  char host[256] = "";
  return ::gethostname(host, sizeof(host) - 1) == 0 ? host : "unknown";
}

// A variable that announces that several ranks were started.
struct Announced {
  const char* variable;
  int size;
};

// Returns the first of these variables that announces several ranks.
std::optional<Announced> several_announced(std::initializer_list<const char*> variables) {
  for (const char* variable : variables) {
    const char* text = std::getenv(variable);
    if (text == nullptr) continue;
    int size = 0;
    std::from_chars(text, text + std::char_traits<char>::length(text), size);
    if (size > 1) return Announced{variable, size};
  }
  return std::nullopt;
}

}  // namespace

int ProcessGroup::node_local_rank() {
  const auto& all = nodes();
  return static_cast<int>(std::count(all.begin(), all.begin() + world().rank(), node()));
}

int ProcessGroup::node_local_size() {
  return static_cast<int>(std::count(nodes().begin(), nodes().end(), node()));
}

void announce_node(const std::string& node) {
  constexpr int kKeep = 0;
  ::setenv("NCCL_HOSTID", node.c_str(), kKeep);
}

bool started_by_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

Result<std::unique_ptr<ProcessGroup>> ProcessGroup::create(const ProcessGroupOptions& options) {
  const std::string given = given_name(options.node);
  if (!given.empty()) announce_node(given);
  const std::string node = given.empty() ? machine_name() : given;
  if (!started_by_launcher()) {
    const auto tasks = several_announced({"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"});
    if (tasks && !options.may_be_alone) {
      return error(Code::kBadConfig,
                   "{}={}, but nobody tells MPI of the others: each task would train alone; start "
                   "it with mpirun or `srun --mpi=pmix` (`srun --mpi=list` says what there is), or "
                   "unset {} for one rank",
                   tasks->variable, tasks->size, tasks->variable);
    }
    return std::unique_ptr<ProcessGroup>(new SelfProcessGroup(node));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(auto runtime, MpiRuntime::create({.timeout_s = options.timeout_s,
                                                               .node = node,
                                                               .limits = {},
                                                               .overdue = options.overdue}));
  const auto ranks = several_announced({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"});
  if (ranks && runtime->world().size() == 1) {
    return error(Code::kBadConfig,
                 "the launcher started {} ranks ({}), but MPI sees one alone: this program was "
                 "built with \"{}\"; start it with the mpirun of that MPI",
                 ranks->size, ranks->variable, mpi_library());
  }
  return std::unique_ptr<ProcessGroup>(new MpiProcessGroup(std::move(runtime)));
}

}  // namespace leasehold
