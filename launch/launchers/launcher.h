// Starts the ranks of a generation through the installed mpirun. Open MPI 4 (ORTE), Open MPI 5
// (PRRTE) and MPICH (Hydra) name options, pass the environment and report failures in different
// ways, so each has a file here. All of it is pure: the supervisor runs the result of command() and
// gives the output to read_failure().
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/job_file.h"
#include "launch/launchers/failure_report.h"
#include "launch/leases/planner.h"
#include "runtime/base/status.h"

namespace leasehold {

struct GenerationCommand {
  std::vector<std::string> arguments;  // of mpirun, beginning with its path
  // Variables added to this process's environment.
  std::vector<std::pair<std::string, std::string>> environment;
};

struct LaunchRequest {
  std::string mpirun = "mpirun";       // path of the launcher, or its name in PATH
  std::string tool;                    // path of leasehold
  std::string train_program;           // path of leasehold-train
  std::string job_path;                // absolute
  std::vector<std::string> overrides;  // of --set
  LaunchSection launch;
  std::vector<PlannedHost> hosts;
  int64_t generation = 1;
  std::string supervisor;  // "address:port"
  bool as_root = false;
};

class Launcher {
 public:
  virtual ~Launcher() = default;

  // Returns the launcher and its version for messages: "Open MPI 4.1.4 (ORTE)".
  virtual std::string name() const = 0;
  // Returns the name of the program that the launcher starts on each host before the ranks.
  virtual std::string daemon() const = 0;

  // Returns the command of one generation. Ranks are assigned to the hosts in order, and find
  // LEASEHOLD_NODE, _GENERATION and _SUPERVISOR (address:port) in their environment. Neither
  // command nor environment holds a secret: agents read their key in run.dir. With
  // launch.hosts = "local" all ranks run on this machine and hosts are only names. Otherwise the
  // launcher reaches the hosts by their names in the calendar, through `ssh` or the agent. It never
  // uses the hosts of a batch system's allocation instead. An option that launch.mpirun_args gives
  // is not added a second time. A SIGUSR1 to the launcher reaches every rank.
  virtual GenerationCommand command(const LaunchRequest& request) const = 0;

  // Reads the end of the output of a failed generation on `hosts`. Accepts any text.
  virtual FailureReport read_failure(std::string_view output,
                                     const std::vector<PlannedHost>& hosts) const = 0;

  // Fails with kBadConfig unless this launcher can start programs built with the MPI that describes
  // itself as `mpi_library` (the text of MPI_Get_library_version).
  virtual Status check_program(std::string_view mpi_library) const = 0;
};

// Returns a shell command that ends with 0 on a host where the launcher could start ranks.
// Otherwise the command prints a line that names the missing program. A launcher that is told where
// its programs are (launch.mpirun_args has a prefix) finds its own.
std::string probe_command(const Launcher& launcher, const LaunchSection& launch,
                          const std::string& train_program);

// Recognizes a launcher by the output of `mpirun --version`. For any other text fails with
// kBadConfig, naming what was found and what is supported.
Result<std::unique_ptr<Launcher>> recognize_launcher(const std::string& mpirun,
                                                     std::string_view version_text);

// Make one launcher each, for recognize_launcher and tests. `version` is like "4.1.4".
std::unique_ptr<Launcher> create_open_mpi_4(const std::string& version);
std::unique_ptr<Launcher> create_open_mpi_5(const std::string& version);
std::unique_ptr<Launcher> create_mpich(const std::string& version);

}  // namespace leasehold
