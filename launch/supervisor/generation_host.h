// Where the supervisor starts generations and looks after them. A generation is known by its
// directory alone, so that a supervisor finds what another one started.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/launchers/launcher.h"
#include "launch/supervisor/outcome.h"
#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

struct GenerationLook {
  bool keeper_alive = false;
  std::optional<Outcome> outcome;
};

class GenerationHost {
 public:
  virtual ~GenerationHost() = default;
  // Starts a keeper in `directory`, which exists. It and its mpirun outlive this process.
  virtual Status start(const std::string& directory, const GenerationCommand& command) = 0;
  // For a supervisor that finds in its state a generation that another one started, or was about to
  // start: from now on it has the keeper that it has, and gets none later.
  virtual Status adopt(const std::string& directory) = 0;
  virtual Result<GenerationLook> look(const std::string& directory) = 0;
  virtual void drain(const std::string& directory) = 0;         // SIGUSR1 to mpirun
  virtual void end(const std::string& directory) = 0;           // the keeper ends mpirun
  virtual void end_by_force(const std::string& directory) = 0;  // SIGKILL to keeper, mpirun, ranks
  // The end of what it wrote.
  virtual std::string output_tail(const std::string& directory) = 0;
};

// Real processes. `program` is the `leasehold` binary, whose hidden command `keeper` is used.
std::unique_ptr<GenerationHost> make_process_host(FileSystem& files, const std::string& program);

}  // namespace leasehold
