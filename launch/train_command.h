// `leasehold-train JOB.toml`: what one rank does with a job.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "collectives/bootstrap.h"
#include "launch/leases/layout.h"
#include "runtime/train/drain.h"

namespace leasehold {

// The largest world that is forecast.
inline constexpr int64_t kMostForecastRanks = 1 << 20;

struct TrainCommand {
  std::string version;  // of the program
  std::string job_path;
  std::vector<std::string> overrides;  // --set
  std::optional<int64_t> stop_after;
  bool dry_run = false;
  std::optional<int64_t> world;  // with dry_run: ranks to forecast for, instead of those that run
  std::vector<LayoutOfWorld> forecasts;  // only these are made, and printed as JSON lines
  bool fork = false;
};

// launch.stuck_timeout_s of the job, which the ranks' communicator needs before they can agree on
// anything; a default when the job cannot be read (run_train will say why). Local.
double operation_timeout_s(const TrainCommand& command);

// Collective over the world. Errors as Trainer::run; kBadConfig and kMissingInput before anything
// is written. With dry_run it prints the model, the layout and the memory of a rank of each
// pipeline stage by family to stdout and touches no file. With forecasts it prints a line for each
// (forecast_words.h). For a world of its own, and for forecasts, no GPU is wanted.
Status run_train(const TrainCommand& command, ProcessGroup& processes, DrainRequest& drain);

}  // namespace leasehold
