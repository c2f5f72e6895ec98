// Turns the processes that mpirun started into a Communicator over host memory. One object per
// process.
//
// MPI is called under one mutex (MPI_THREAD_SERIALIZED) and never blocks. If an operation misses
// its timeout, its rank asks all members of the group where they are. The error names the rank that
// lags, the operation where it is, and the ranks that do not answer. After a failure a rank must
// leave with _exit, never through MPI_Finalize, which would wait for the lost peer.
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
  double timeout_s = 300;  // of each operation, from its start
  // The time that peers have to answer where they are, after an operation is late.
  double answer_limit_s = 2;
  std::string node;  // where this rank runs, for messages; "": the host's name
  RoundLimits limits;
  // Called on another thread, to end the process, if MPI_Init or MPI_Finalize has not returned
  // within the timeout or a minute, whichever is longer. Empty: they have no limit.
  std::function<void(const Status&)> overdue;
};

class MpiRuntime {
 public:
  // Makes the runtime. Collective over the ranks that mpirun started. Initialises MPI unless it is
  // initialised.
  static Result<std::unique_ptr<MpiRuntime>> create(const MpiOptions& options);
  // Stops the communication thread. Does not end MPI.
  virtual ~MpiRuntime() = default;

  // Returns the world. Its operations' streams are CPU streams. The streams, and the communicators
  // that split() made, must be destroyed before this object.
  virtual Communicator& world() = 0;
  // Returns the node that each rank of the world gave.
  virtual const std::vector<std::string>& nodes() const = 0;
  // Locks MPI. Code of this process that calls MPI itself (a library, a benchmark) must hold this
  // lock meanwhile, and must do nothing else: nobody's operations advance.
  virtual std::unique_lock<std::mutex> lock_mpi() = 0;
  // Waits for all ranks, then calls MPI_Finalize (if create initialised MPI). Collective. Fails,
  // and does not end MPI, unless the world is healthy; the caller must then call _exit.
  // Communicators must not be used afterwards.
  virtual Status finalize() = 0;
  // Makes MPI's launcher end all ranks, this one with `exit_code`. May hang, or return.
  static void abort(int exit_code);
};

}  // namespace leasehold
