// Implements the launcher of Open MPI 4, whose mpirun is ORTE.
#include "launch/launchers/open_mpi.h"

namespace leasehold {

namespace {

void append_orte_parameter(Arguments& arguments, const LaunchSection& launch,
                           const std::string& name, const std::string& value) {
  if (!mention(launch.mpirun_args, name)) append(arguments, {"-mca", name, value});
}

class OpenMpi4Launcher : public Launcher {
 public:
  explicit OpenMpi4Launcher(std::string version) : version_(std::move(version)) {}

  std::string name() const override { return fmt::format("Open MPI {} (ORTE)", version_); }
  std::string daemon() const override { return "orted"; }

  GenerationCommand command(const LaunchRequest& request) const override {
    const bool local = request.launch.hosts == "local";
    GenerationCommand command;
    command.arguments = general_arguments(request);
    const GivenArguments given = split_given(request.launch.mpirun_args);
    append(command.arguments, given.general);
    // One app context per host: in a single list mpirun would move its own machine to the front.
    bool first = true;
    for (const PlannedHost& host : request.hosts) {
      if (!first) command.arguments.emplace_back(":");
      first = false;
      if (!local) append(command.arguments, {"-host", fmt::format("{}:{}", host.host, host.slots)});
      append(command.arguments,
             {"-np", std::to_string(host.slots), "-x", "LEASEHOLD_NODE=" + host.host});
      // mpirun reads -x per app context: an -x before the first context applies to the first alone.
      for (const auto& [name, value] : generation_variables(request)) {
        append(command.arguments, {"-x", name});
      }
      append(command.arguments, given.exported);
      append(command.arguments, train_arguments(request));
    }
    command.environment = generation_variables(request);
    if (request.as_root) {
      command.environment.emplace_back("OMPI_ALLOW_RUN_AS_ROOT", "1");
      command.environment.emplace_back("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
    return command;
  }

  FailureReport read_failure(std::string_view output,
                             const std::vector<PlannedHost>& hosts) const override {
    OpenMpiLines lines;
    const auto read_line = [&lines](std::string_view line, std::string_view next,
                                    FailureReader& reader) { lines.read(line, next, reader); };
    return FailureReader(output, hosts, read_line).take();
  }

  Status check_program(std::string_view mpi_library) const override {
    return check_open_mpi_program(*this, "4", mpi_library);
  }

 private:
  static Arguments general_arguments(const LaunchRequest& request) {
    const LaunchSection& launch = request.launch;
    Arguments arguments = {request.mpirun};
    if (!mention(launch.mpirun_args, "--bind-to")) append(arguments, {"--bind-to", "none"});
    // When a rank dies, the others have lost their work. So SIGKILL need not wait, and ranks that
    // leave by themselves meet first.
    append_orte_parameter(arguments, launch, "odls_base_sigkill_timeout", "0");
    // Uses the calendar's hosts, also inside an allocation of a batch system.
    append_orte_parameter(arguments, launch, "ras", "^slurm,gridengine,tm,lsf,alps");
    append_orte_parameter(arguments, launch, "plm", "^slurm,tm,lsf,alps");
    if (launch.hosts == "local") {
      append(arguments, {"--oversubscribe"});
      append_orte_parameter(arguments, launch, "mpi_yield_when_idle", "1");
      return arguments;
    }
    append_orte_parameter(arguments, launch, "orte_keep_fqdn_hostnames", "1");
    append_orte_parameter(arguments, launch, "plm_rsh_agent", launch.hosts);
    append_orte_parameter(arguments, launch, "btl", "tcp,self");
    return arguments;
  }

  std::string version_;
};

}  // namespace

std::unique_ptr<Launcher> create_open_mpi_4(const std::string& version) {
  return std::make_unique<OpenMpi4Launcher>(version);
}

}  // namespace leasehold
