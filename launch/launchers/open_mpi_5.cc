// Implements the launcher of Open MPI 5, whose mpirun is PRRTE's prterun.
#include <fmt/ranges.h>

#include "launch/launchers/open_mpi.h"

namespace leasehold {

namespace {

enum class Project { kMpi, kRuntime };

void append_parameter(Arguments& arguments, const LaunchSection& launch, Project project,
                      const std::string& name, const std::string& value) {
  if (mention(launch.mpirun_args, name)) return;
  append(arguments, {project == Project::kMpi ? "--mca" : "--prtemca", name, value});
}

class OpenMpi5Launcher : public Launcher {
 public:
  explicit OpenMpi5Launcher(std::string version) : version_(std::move(version)) {}

  std::string name() const override { return fmt::format("Open MPI {} (PRRTE)", version_); }
  std::string daemon() const override { return "prted"; }

  // Makes a single app context for all hosts, since mpirun 5.0.7 crashes with several. So ranks
  // learn the name of their node through `leasehold node`.
  GenerationCommand command(const LaunchRequest& request) const override {
    const bool local = request.launch.hosts == "local";
    std::vector<std::string> nodes, places;
    int64_t world = 0;
    for (const PlannedHost& host : request.hosts) {
      nodes.push_back(fmt::format("{}:{}", host.host, host.slots));
      for (int64_t slot = 0; slot < host.slots; ++slot) places.push_back(host.host);
      world += host.slots;
    }
    GenerationCommand command;
    command.arguments = general_arguments(request);
    // The order matters. Without `seq`, mpirun 5.0.7 would begin with its own machine.
    if (!local) append(command.arguments, {"--host", fmt::format("{}", fmt::join(places, ","))});
    append(command.arguments, {"-np", std::to_string(world)});
    for (const auto& [name, value] : generation_variables(request)) {
      append(command.arguments, {"-x", name});
    }
    append(command.arguments, request.launch.mpirun_args);
    append(command.arguments,
           {request.tool, "node", fmt::format("{}", fmt::join(nodes, ",")), "--"});
    append(command.arguments, train_arguments(request));
    command.environment = generation_variables(request);
    if (request.as_root) {
      for (const char* prefix : {"OMPI", "PRTE"}) {
        command.environment.emplace_back(fmt::format("{}_ALLOW_RUN_AS_ROOT", prefix), "1");
        command.environment.emplace_back(fmt::format("{}_ALLOW_RUN_AS_ROOT_CONFIRM", prefix), "1");
      }
    }
    return command;
  }

  // Reads the output, and corrects the exit code: prterun ends with 0 after it has lost a host.
  FailureReport read_failure(std::string_view output,
                             const std::vector<PlannedHost>& hosts) const override {
    OpenMpiLines lines;
    const auto read_line = [&lines](std::string_view line, std::string_view next,
                                    FailureReader& reader) { lines.read(line, next, reader); };
    FailureReport report = FailureReader(output, hosts, read_line).take();
    if (lines.lost_daemon()) report.exit_code = static_cast<int>(Code::kUnavailable);
    return report;
  }

  Status check_program(std::string_view mpi_library) const override {
    return check_open_mpi_program(*this, "5", mpi_library);
  }

 private:
  static Arguments general_arguments(const LaunchRequest& request) {
    const LaunchSection& launch = request.launch;
    const bool local = launch.hosts == "local";
    Arguments arguments = {request.mpirun};
    if (!mention(launch.mpirun_args, "--bind-to")) append(arguments, {"--bind-to", "none"});
    if (!mention(launch.mpirun_args, "--map-by")) {
      append(arguments, {"--map-by", local ? ":OVERSUBSCRIBE" : "seq"});
    }
    // When a rank dies, the others have lost their work.
    append_parameter(arguments, launch, Project::kRuntime, "odls_base_sigkill_timeout", "0");
    // Uses the calendar's hosts, also inside an allocation of a batch system.
    append_parameter(arguments, launch, Project::kRuntime, "ras", "^slurm,pbs,lsf,gridengine,flux");
    append_parameter(arguments, launch, Project::kRuntime, "plm", "^slurm,pbs,lsf,pals,tm");
    if (local) {
      append_parameter(arguments, launch, Project::kMpi, "mpi_yield_when_idle", "1");
      return arguments;
    }
    append_parameter(arguments, launch, Project::kRuntime, "prte_keep_fqdn_hostnames", "1");
    append_parameter(arguments, launch, Project::kRuntime, "plm_ssh_agent", launch.hosts);
    append_parameter(arguments, launch, Project::kMpi, "btl", "tcp,self");
    return arguments;
  }

  std::string version_;
};

}  // namespace

std::unique_ptr<Launcher> create_open_mpi_5(const std::string& version) {
  return std::make_unique<OpenMpi5Launcher>(version);
}

}  // namespace leasehold
