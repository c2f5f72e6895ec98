// What a rank that `leasehold launch` started owes its supervisor: the generation that it was
// given, reports, obedience. A rank that was started by plain mpirun owes nothing.
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

// From the environment. kUsage when a variable is there and makes no sense.
Result<Supervision> read_supervision();

// By rank: its node, and what RUN_DIR/generations/N/world.json knows of it. Collective: rank 0
// reads. A generation without such a file has nodes only.
Result<std::vector<FailureDomain>> read_failure_domains(FileSystem& files,
                                                        const std::string& run_dir,
                                                        const Supervision& supervision,
                                                        ProcessGroup& processes, Stream& stream,
                                                        Deadline deadline);

// On the first rank of each node of a supervised generation; null elsewhere. What the supervisor
// wants reaches `drain`; a rank that is told that a newer generation runs gives up its world. The
// key and the supervisor's present address are in RUN_DIR/supervisor; kMissingInput without a key.
Result<std::unique_ptr<NodeAgent>> start_node_agent(FileSystem& files, const std::string& run_dir,
                                                    const Supervision& supervision,
                                                    ProcessGroup& processes,
                                                    const RunProgress& progress,
                                                    DrainRequest& drain);

}  // namespace leasehold
