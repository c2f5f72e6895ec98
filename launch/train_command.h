// Implements `leasehold-train JOB.toml`: trains a job as one of its ranks.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "collectives/bootstrap.h"
#include "launch/leases/layout.h"
#include "runtime/train/drain.h"

namespace leasehold {

// The largest world that can be forecast.
inline constexpr int64_t kMostForecastRanks = 1 << 20;

struct TrainCommand {
  std::string version;  // of the program
  std::string job_path;
  std::vector<std::string> overrides;  // --set
  std::optional<int64_t> stop_after;
  bool dry_run = false;
  std::optional<int64_t> world;  // with dry_run: ranks to forecast for, instead of the running ones
  std::vector<LayoutOfWorld> forecasts;  // if any: the only work, printed as JSON lines
  bool fork = false;
};

// Returns launch.stuck_timeout_s of the job, which the ranks' communicator needs before they can
// agree on anything. Returns a default if the job cannot be read; run_train reports why. Local.
double operation_timeout_s(const TrainCommand& command);

// Trains the job. Collective over the world. Fails as Trainer::run does, and with kBadConfig or
// kMissingInput before anything is written. With dry_run it prints the model, the layout and the
// memory of a rank of each pipeline stage by family to stdout, and touches no file. With forecasts
// it prints a line for each (forecast_words.h). Neither forecasts nor a dry run with `world` need a
// GPU.
Status run_train(const TrainCommand& command, ProcessGroup& processes, DrainRequest& drain);

}  // namespace leasehold
