#include "collectives/bootstrap.h"

#include <algorithm>
#include <cstdlib>
#include <unistd.h>

#include "collectives/mpi.h"
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

 private:
  std::unique_ptr<MpiRuntime> runtime_;
};

// "" when nobody gave one.
std::string given_name(const std::string& wanted) {
  const char* node = std::getenv("LEASEHOLD_NODE");
  return wanted.empty() && node != nullptr ? node : wanted;
}

std::string machine_name() {
  char host[256] = "";
  return ::gethostname(host, sizeof(host) - 1) == 0 ? host : "unknown";
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
  if (!started_by_launcher()) return std::unique_ptr<ProcessGroup>(new SelfProcessGroup(node));
  LEASEHOLD_ASSIGN_OR_RETURN(auto runtime,
                             MpiRuntime::create({.timeout_s = options.timeout_s, .node = node}));
  return std::unique_ptr<ProcessGroup>(new MpiProcessGroup(std::move(runtime)));
}

}  // namespace leasehold
