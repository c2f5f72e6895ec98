// Works out how much memory layouts need, without holding up the supervisor: only the program that
// trains knows, so it is asked.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/leases/layout.h"
#include "runtime/base/status.h"

namespace leasehold {

class Forecaster {
 public:
  virtual ~Forecaster() = default;
  // Nothing while something is being worked out.
  virtual void ask(const std::vector<LayoutOfWorld>& questions) = 0;
  virtual bool busy() const = 0;
  // What was worked out since the last call; why it could not be. Never waits.
  virtual std::optional<Result<MemoryForecasts>> take() = 0;
};

// Runs `train_program JOB --forecast ...` on this machine.
struct ForecastProgram {
  std::string train_program;           // leasehold-train
  std::string job_path;                // absolute
  std::vector<std::string> overrides;  // of --set
  double deadline_s = 120;
};
std::unique_ptr<Forecaster> make_forecaster(ForecastProgram program);

}  // namespace leasehold
