// Connects a rank to the supervisor that started it (`leasehold launch`): its generation, its
// reports, and the requests that it obeys. A rank started by plain mpirun has no supervisor.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collectives/bootstrap.h"
#include "launch/supervisor/node_agent.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/partners.h"
#include "runtime/train/trainer.h"

namespace leasehold {

struct Supervision {
  std::optional<int64_t> generation;  // LEASEHOLD_GENERATION
  std::string supervisor;             // LEASEHOLD_SUPERVISOR, "address:port"
};

// Reads the environment. Fails with kUsage if a variable is set and makes no sense.
Result<Supervision> read_supervision();

// Returns for each rank its node and the node's entry in RUN_DIR/generations/N/world.json. Without
// that file the entries hold node names only. Collective: rank 0 reads the file.
Result<std::vector<FailureDomain>> read_failure_domains(FileSystem& files,
                                                        const std::string& run_dir,
                                                        const Supervision& supervision,
                                                        ProcessGroup& processes, Stream& stream,
                                                        Deadline deadline);

// Starts an agent on the first rank of each node of a supervised generation; returns null on other
// ranks. The supervisor's request to drain reaches `drain`. A rank that is told of a newer
// generation aborts its world. RUN_DIR/supervisor holds the key and the supervisor's present
// address. Fails with kMissingInput without a key.
Result<std::unique_ptr<NodeAgent>> start_node_agent(FileSystem& files, const std::string& run_dir,
                                                    const Supervision& supervision,
                                                    ProcessGroup& processes,
                                                    const RunProgress& progress,
                                                    DrainRequest& drain);

}  // namespace leasehold
