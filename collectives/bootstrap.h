// Turns a program into a rank: makes the world communicator, and finds the rank's place on its
// node. Under mpirun the world is MPI's; in a program started by hand it is the group of one rank.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct ProcessGroupOptions {
  double timeout_s = 300;  // of each operation
  // The name of this rank's node. "" means LEASEHOLD_NODE, or else the host's name. A given name is
  // also the host to which NCCL assigns this rank (announce_node).
  std::string node;
  // True if this process writes nothing that others could write too. It may then run alone where a
  // batch system has started several.
  bool may_be_alone = false;
  // See MpiOptions::overdue.
  std::function<void(const Status&)> overdue;
};

class ProcessGroup {
 public:
  // Makes the group. Collective if mpirun (or another launcher that speaks PMI) started this
  // process. kUnavailable if MPI fails. kBadConfig if a launcher announces several ranks and this
  // process is alone: each would train by itself. That happens if launcher and MPI do not belong
  // together, and if Slurm starts tasks without telling MPI.
  static Result<std::unique_ptr<ProcessGroup>> create(const ProcessGroupOptions& options);
  virtual ~ProcessGroup() = default;

  virtual Communicator& world() = 0;
  virtual const std::vector<std::string>& nodes() const = 0;  // by rank of the world
  const std::string& node() { return nodes()[static_cast<size_t>(world().rank())]; }
  // Return this rank's place among the ranks of its node, in the order of the world, and their
  // number.
  int node_local_rank();
  int node_local_size();

  // Meets all ranks, then ends MPI. Collective. The communicators must not be used afterwards. If
  // this fails, or if the world is not healthy, the program must leave by _exit (69): MPI's own end
  // would wait for the lost peer.
  virtual Status finish() = 0;
  // Makes the launcher end the other ranks, with this exit code, if it does not notice by itself
  // that one is gone. For a rank that leaves without meeting the others. May end this process too,
  // or hang.
  virtual void give_up(int exit_code) = 0;
};

// Sets NCCL_HOSTID, unless it is set. NCCL expects ranks of one host to be neighbours on its buses,
// and refuses two of them on one GPU. Nodes that share a machine are not neighbours, and do share a
// GPU. Must be called before threads start.
void announce_node(const std::string& node);

// Returns true if a launcher started this process as one of several ranks (or as one rank under
// mpirun).
bool started_by_launcher();

}  // namespace leasehold
