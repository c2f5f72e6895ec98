// How a program becomes a rank: the world communicator, and where the rank stands on its node.
// Under mpirun that is MPI; started by hand it is the group of one rank.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct ProcessGroupOptions {
  double timeout_s = 300;  // of each operation
  // The name of this rank's node; "": LEASEHOLD_NODE, else the host's name. One that is given is
  // also the host that NCCL counts this rank to (announce_node).
  std::string node;
  // This process writes nothing that others could write too, so it may stay alone where a batch
  // system has started several.
  bool may_be_alone = false;
  // MpiOptions::overdue.
  std::function<void(const Status&)> overdue;
};

class ProcessGroup {
 public:
  // Collective when mpirun (or another launcher that speaks PMI) started this process. kUnavailable
  // when MPI fails. kBadConfig when a launcher says that it started several ranks and this one is
  // alone: each would train by itself. That happens when launcher and MPI do not belong together,
  // and when Slurm starts tasks without telling MPI.
  static Result<std::unique_ptr<ProcessGroup>> create(const ProcessGroupOptions& options);
  virtual ~ProcessGroup() = default;

  virtual Communicator& world() = 0;
  virtual const std::vector<std::string>& nodes() const = 0;  // by rank of the world
  const std::string& node() { return nodes()[static_cast<size_t>(world().rank())]; }
  // Among the ranks with this rank's node, by rank of the world.
  int node_local_rank();
  int node_local_size();

  // Collective: meets all ranks, then ends MPI; the communicators are of no use afterwards. When it
  // fails, or when the world is not healthy, the program must leave by _exit (69): MPI's own end
  // would wait for the lost peer.
  virtual Status finish() = 0;
  // Has the launcher end the other ranks, with this exit code, where it does not notice by itself
  // that one is gone. For a rank that leaves without meeting the others. May end this process too,
  // or hang.
  virtual void give_up(int exit_code) = 0;
};

// Sets NCCL_HOSTID, unless it is set: NCCL takes ranks of one host for neighbours on its buses and
// refuses two of them on one GPU, which nodes that share a machine are not and do. Before threads
// start.
void announce_node(const std::string& node);

// True when a launcher started this process as one of several ranks (or as one rank under mpirun).
bool started_by_launcher();

}  // namespace leasehold
