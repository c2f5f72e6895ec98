// Makes the command that asks a host whether it can be used again.
#include "launch/launchers/arguments.h"

namespace leasehold {

namespace {

std::string quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) safe += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return safe + "'";
}

}  // namespace

std::string probe_command(const Launcher& launcher, const LaunchSection& launch,
                          const std::string& train_program) {
  const std::string program = quoted(train_program);
  std::string command =
      fmt::format("if ! test -x {0}; then echo there is no program {0}; exit 1; fi", program);
  if (mention(launch.mpirun_args, "prefix") || mention(launch.mpirun_args, "launcher-exec")) {
    return command;
  }
  const std::string daemon = launcher.daemon();
  // A launcher called by its path looks for its programs next to itself.
  const size_t slash = launch.mpirun.rfind('/');
  const std::string next_to_it =
      slash == std::string::npos
          ? ""
          : fmt::format("test -x {} || ", quoted(launch.mpirun.substr(0, slash + 1) + daemon));
  return command + fmt::format(
                       "; {1}command -v {0} >/dev/null || {{ echo there is no {0} in PATH; "
                       "exit 1; }}",
                       daemon, next_to_it);
}

}  // namespace leasehold
