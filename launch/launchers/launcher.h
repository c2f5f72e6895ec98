// Starts the ranks of a generation through the mpirun that is installed. Open MPI 4 (ORTE), Open
// MPI 5 (PRRTE) and MPICH (Hydra) name their options differently, pass the environment differently
// and say differently who died; each has a file here. All of it is pure: the supervisor runs what
// command() answers and hands read_failure() what was printed.
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
  std::vector<std::string> arguments;                            // of mpirun, its path first
  std::vector<std::pair<std::string, std::string>> environment;  // added to this process's
};

struct LaunchRequest {
  std::string mpirun = "mpirun";       // path of the launcher, or its name in PATH
  std::string tool;                    // leasehold
  std::string train_program;           // leasehold-train
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

  // Names the launcher and its version for messages: "Open MPI 4.1.4 (ORTE)".
  virtual std::string name() const = 0;
  // Names the program that the launcher starts on each host before the ranks.
  virtual std::string daemon() const = 0;

  // Returns the command of one generation. Ranks are dealt to the hosts in their order, and find
  // in their environment LEASEHOLD_NODE, _GENERATION and _SUPERVISOR (address:port). No secret is
  // in command or environment: agents read their key in run.dir. With launch.hosts = "local" all
  // ranks run on this machine and the host is a name only; else the launcher reaches hosts by the
  // names of the calendar, through `ssh` or the agent. The hosts of a batch system's allocation are
  // never taken instead. An option that launch.mpirun_args give is not given a second time. A
  // SIGUSR1 that the launcher receives reaches every rank.
  virtual GenerationCommand command(const LaunchRequest& request) const = 0;

  // Reads the end of what a failed generation on `hosts` printed. Any text will do.
  virtual FailureReport read_failure(std::string_view output,
                                     const std::vector<PlannedHost>& hosts) const = 0;

  // Fails with kBadConfig unless this launcher starts programs that were built with an MPI that
  // describes itself like this (the text of MPI_Get_library_version).
  virtual Status check_program(std::string_view mpi_library) const = 0;
};

// Returns a command for a shell on a host that ends with 0 when the launcher could start ranks
// there; else it says in a line which program is missing. A launcher that was told where its
// programs are (launch.mpirun_args has a prefix) finds its own.
std::string probe_command(const Launcher& launcher, const LaunchSection& launch,
                          const std::string& train_program);

// Recognizes a launcher by what `mpirun --version` printed. kBadConfig, with what was found and
// what is supported, for any other text.
Result<std::unique_ptr<Launcher>> recognize_launcher(const std::string& mpirun,
                                                     std::string_view version_text);

// Each of them, for recognize_launcher and tests. `version` is like "4.1.4".
std::unique_ptr<Launcher> create_open_mpi_4(const std::string& version);
std::unique_ptr<Launcher> create_open_mpi_5(const std::string& version);
std::unique_ptr<Launcher> create_mpich(const std::string& version);

}  // namespace leasehold
