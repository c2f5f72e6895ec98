// How a program becomes a rank: under mpirun (or srun with PMIx) it joins the job's world by MPI,
// started alone it is the only rank and MPI is not touched.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct ProcessGroupOptions {
  double timeout_s = 300;  // of every operation, until set_timeout_s
};

// The process's place among the job's processes. One per process, made once, used and destroyed by
// the main thread.
class ProcessGroup {
 public:
  // Joins the world. kUnavailable, with MPI's own words, when MPI does not start.
  static Result<std::unique_ptr<ProcessGroup>> start(const ProcessGroupOptions& options);
  virtual ~ProcessGroup() = default;

  virtual Communicator& world() = 0;
  // A job file is read after the start: the deadline for operations that start from now on.
  virtual void set_timeout_s(double timeout_s) = 0;
  virtual int node_local_rank() const = 0;
  virtual int node_local_size() const = 0;
  // LEASEHOLD_NODE, else the host's name.
  virtual const std::string& node() const = 0;

  // Ends the process with `exit_code`, having flushed the standard streams. While the world is
  // healthy all ranks meet and MPI is finalized first, so that none is killed while it still writes
  // (mpirun ends the others as soon as one fails); after a failure the process leaves at once,
  // never through MPI_Finalize. Bounded in time either way.
  [[noreturn]] virtual void leave(int exit_code) = 0;
};

}  // namespace leasehold
