#include "launch/supervisor/mpirun_command.h"

#include <algorithm>

namespace leasehold {

namespace {

using Arguments = std::vector<std::string>;

void append(Arguments& arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
}

// launch.mpirun_args: what is mpirun's, and the variables that are exported (`-x NAME`).
struct GivenArguments {
  Arguments general, exported;
};

GivenArguments split_given(const Arguments& arguments) {
  GivenArguments given;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "-x" && i + 1 < arguments.size()) {
      append(given.exported, {arguments[i], arguments[i + 1]});
      ++i;
    } else {
      given.general.push_back(arguments[i]);
    }
  }
  return given;
}

// Whether `arguments` name the word (an MCA parameter, or an option).
bool mention(const Arguments& arguments, const std::string& word) {
  return std::ranges::find(arguments, word) != arguments.end();
}

void append_parameter(Arguments& arguments, const LaunchSection& launch, const std::string& name,
                      const std::string& value) {
  if (!mention(launch.mpirun_args, name)) append(arguments, {"-mca", name, value});
}

}  // namespace

GenerationCommand make_mpirun_command(const MpirunRequest& request) {
  const bool local = request.launch.hosts == "local";
  GenerationCommand command;
  Arguments& arguments = command.arguments;
  arguments = {request.mpirun};
  if (!mention(request.launch.mpirun_args, "--bind-to")) append(arguments, {"--bind-to", "none"});
  // When a rank dies the others have lost their work: there is nothing to wait for before SIGKILL,
  // and ranks that leave by themselves meet first.
  append_parameter(arguments, request.launch, "odls_base_sigkill_timeout", "0");
  if (local) {
    append(arguments, {"--oversubscribe"});
    append_parameter(arguments, request.launch, "mpi_yield_when_idle", "1");
  } else {
    append_parameter(arguments, request.launch, "plm_rsh_agent", request.launch.hosts);
    append_parameter(arguments, request.launch, "btl", "tcp,self");
  }
  const GivenArguments given = split_given(request.launch.mpirun_args);
  append(arguments, given.general);
  bool first = true;
  for (const PlannedHost& host : request.hosts) {
    if (!first) arguments.push_back(":");
    first = false;
    if (!local) append(arguments, {"-host", fmt::format("{}:{}", host.host, host.slots)});
    append(arguments, {"-np", std::to_string(host.slots), "-x", "LEASEHOLD_NODE=" + host.host});
    // mpirun knows an -x by its app context: one that is before the first is of the first alone.
    for (const char* name : {"LEASEHOLD_GENERATION", "LEASEHOLD_SUPERVISOR", "LEASEHOLD_TOKEN"}) {
      append(arguments, {"-x", name});
    }
    append(arguments, given.exported);
    append(arguments, {request.train_program, request.job_path});
    for (const std::string& text : request.overrides) append(arguments, {"--set", text});
  }
  command.environment = {{"LEASEHOLD_GENERATION", std::to_string(request.generation)},
                         {"LEASEHOLD_SUPERVISOR", request.supervisor},
                         {"LEASEHOLD_TOKEN", request.token}};
  if (request.as_root) {
    command.environment.emplace_back("OMPI_ALLOW_RUN_AS_ROOT", "1");
    command.environment.emplace_back("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
  }
  return command;
}

}  // namespace leasehold
