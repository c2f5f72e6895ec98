// The processes that mpirun started, as a Communicator over host memory. One per process.
//
// MPI is called under one mutex (MPI_THREAD_SERIALIZED) and never blocks. An operation that misses
// its timeout makes its rank ask all members of the group where they are; the error names who lags,
// at which operation, and who does not answer. After a failure a rank must leave with _exit, never
// through MPI_Finalize, which would wait for the lost peer.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "collectives/rounds.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

struct MpiOptions {
  double timeout_s = 300;  // of each operation, from the moment it starts
  double answer_limit_s =
      2;             // how long peers have to tell where they are, once an operation is late
  std::string node;  // where this rank runs, for messages; "": the host's name
  RoundLimits limits;
  // Called on another thread, to end the process, when MPI_Init or MPI_Finalize has not come back
  // within the timeout, or a minute where that is shorter; empty: they have no limit.
  std::function<void(const Status&)> overdue;
};

class MpiRuntime {
 public:
  // Collective over the ranks that mpirun started; initialises MPI unless somebody has.
  static Result<std::unique_ptr<MpiRuntime>> create(const MpiOptions& options);
  // Stops the communication thread and leaves MPI as it is.
  virtual ~MpiRuntime() = default;

  // Its operations' streams are CPU streams; they, and what split made of it, must end before this
  // object does.
  virtual Communicator& world() = 0;
  // What each rank of the world gave as its node.
  virtual const std::vector<std::string>& nodes() const = 0;
  // Other code of the process that calls MPI itself (a library, a benchmark) must hold this
  // meanwhile, and may do nothing else: nobody's operations move.
  virtual std::unique_lock<std::mutex> lock_mpi() = 0;
  // Collective: waits for all ranks, then MPI_Finalize (if create initialised). Fails, and leaves
  // MPI as it is, unless the world is healthy: then call _exit. Communicators are of no use
  // afterwards.
  virtual Status finalize() = 0;
  // Has MPI's launcher end all ranks, this one with `exit_code`. May hang, or return.
  static void abort(int exit_code);
};

}  // namespace leasehold
