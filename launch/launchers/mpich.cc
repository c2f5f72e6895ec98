// Implements the launcher of MPICH, whose mpirun (mpiexec) is Hydra.
#include <algorithm>
#include <fmt/ranges.h>
#include <set>

#include "launch/launchers/arguments.h"

namespace leasehold {

namespace {

constexpr int kSignalCode = 128;  // plus the signal, as in a shell

// Returns the exit code in a wait status.
int code_of_wait_status(int64_t status) {
  const int signal = static_cast<int>(status & 0x7f);
  return signal != 0 ? kSignalCode + signal : static_cast<int>((status >> 8) & 0xff);
}

// Ranks the exit codes of processes. From worst to best: failed; drained; ended by a signal,
// perhaps Hydra's own; ended because a peer was lost.
int badness(int code) {
  if (code == static_cast<int>(Code::kUnavailable)) return 1;
  if (code > kSignalCode) return 2;
  if (code == static_cast<int>(Code::kDrained)) return 3;
  return 4;
}

// Collects the ranks' exit codes. Hydra's own exit code is all of them or-ed: 65 and 74 would give
// 75. With -print-all-exitcodes it prints them, one line per host.
class ExitCodes {
 public:
  // Reads a line. Returns true if it holds exit codes.
  bool read(std::string_view line) {
    std::string_view text = line;
    if (const auto behind = text_behind(line, "] Exit codes: ")) {
      is_reading_ = true;
      text = *behind;
    }
    if (!is_reading_ || !text.starts_with("[") || text.find("] ") == std::string_view::npos) {
      is_reading_ = false;
      return false;
    }
    text = *text_behind(text, "] ");
    while (const auto status = leading_number(text)) {
      const int code = code_of_wait_status(*status);
      if (code != 0) codes_.insert(code);
      const size_t comma = text.find(',');
      if (comma == std::string_view::npos) break;
      text.remove_prefix(comma + 1);
    }
    return true;
  }

  std::optional<int> worst() const {
    const auto worst = std::ranges::max_element(codes_, {}, badness);
    return worst == codes_.end() ? std::nullopt : std::optional<int>(*worst);
  }

 private:
  bool is_reading_ = false;
  std::set<int> codes_;
};

// Reads "Abort(74) on node 2 (rank 2 in comm 0): ...", which names the first rank that aborted.
bool read_abort(std::string_view line, FailureReader& reader) {
  const auto behind = text_behind(line, "Abort(");
  if (!behind || !line.starts_with("Abort(")) return false;
  const auto code = leading_number(*behind);
  const auto node = text_behind(*behind, ") on node ");
  const auto rank = node ? leading_number(*node) : std::nullopt;
  if (!code || !rank) return false;
  FailureReport& report = reader.report();
  if (report.rank) return true;
  report.rank = rank;
  // MPI's own errors have large codes.
  if (*code >= 1 && *code <= kSignalCode) report.exit_code = static_cast<int>(*code);
  reader.launcher_said(line);
  return true;
}

void read_hydra_line(std::string_view line, FailureReader& reader) {
  if (read_abort(line, reader)) return;
  const bool is_process = line.starts_with("=   PID ");
  if (const auto host = text_behind(line, " RUNNING AT "); host && is_process) {
    if (!reader.report().host.empty()) return;
    reader.report().host = reader.calendar_name(host_word(*host));
    reader.launcher_said(fmt::format("a rank on {} ended badly", reader.report().host));
  } else if (const auto how = text_behind(line, "TERMINATED WITH THE EXIT STRING: ")) {
    const std::string& where = reader.report().host;
    reader.launcher_said(
        fmt::format("a rank{} ended badly: {}", where.empty() ? "" : " on " + where, *how));
  } else if (line.starts_with("[mpiexec@") && line.find("assert (!closed) failed") != line.npos) {
    // The connection to a host's proxy broke.
    reader.report().lost_unnamed = true;
    reader.launcher_said("Hydra lost a host, and does not say which");
  }
}

class MpichLauncher : public Launcher {
 public:
  explicit MpichLauncher(std::string version) : version_(std::move(version)) {}

  std::string name() const override { return fmt::format("MPICH {} (Hydra)", version_); }
  std::string daemon() const override { return "hydra_pmi_proxy"; }

  // Passes variables through the launcher's environment, since Hydra passes all of it to the ranks.
  GenerationCommand command(const LaunchRequest& request) const override {
    GenerationCommand command;
    command.arguments = general_arguments(request);
    append(command.arguments, request.launch.mpirun_args);
    bool first = true;
    for (const PlannedHost& host : request.hosts) {
      if (!first) command.arguments.emplace_back(":");
      first = false;
      append(command.arguments,
             {"-np", std::to_string(host.slots), "-env", "LEASEHOLD_NODE", host.host});
      append(command.arguments, train_arguments(request));
    }
    command.environment = generation_variables(request);
    return command;
  }

  FailureReport read_failure(std::string_view output,
                             const std::vector<PlannedHost>& hosts) const override {
    ExitCodes codes;
    const auto read_line = [&codes](std::string_view line, std::string_view,
                                    FailureReader& reader) {
      if (!codes.read(line)) read_hydra_line(line, reader);
    };
    FailureReport report = FailureReader(output, hosts, read_line).take();
    if (!report.exit_code) report.exit_code = codes.worst();
    return report;
  }

  Status check_program(std::string_view mpi_library) const override {
    if (mpi_library.find("MPICH Version:") != std::string_view::npos) return ok_status();
    return error(Code::kBadConfig,
                 "the launcher is {}, but leasehold-train was built with \"{}\": each rank would "
                 "train alone; name the mpirun of that MPI with launch.mpirun",
                 name(), mpi_library.substr(0, mpi_library.find_first_of(",\n")));
  }

 private:
  static Arguments general_arguments(const LaunchRequest& request) {
    const LaunchSection& launch = request.launch;
    Arguments arguments = {request.mpirun};
    if (!mention(launch.mpirun_args, "-bind-to")) append(arguments, {"-bind-to", "none"});
    if (!mention(launch.mpirun_args, "-print-all-exitcodes"))
      append(arguments, {"-print-all-exitcodes"});
    // Uses the calendar's hosts, also inside an allocation of a batch system.
    if (!mention(launch.mpirun_args, "-rmk")) append(arguments, {"-rmk", "user"});
    if (!mention(launch.mpirun_args, "-launcher")) append(arguments, launcher_arguments(request));
    std::vector<std::string> hosts;
    for (const PlannedHost& host : request.hosts) {
      hosts.push_back(fmt::format("{}:{}", host.host, host.slots));
    }
    append(arguments, {"-hosts", fmt::format("{}", fmt::join(hosts, ","))});
    return arguments;
  }

  // Chooses how Hydra starts its proxies. `fork` starts one on this machine for each name: virtual
  // nodes, which Hydra distinguishes. An agent is called like rsh, because Hydra would give ssh an
  // option before the host. Proxies connect to the address at which agents find the supervisor.
  static Arguments launcher_arguments(const LaunchRequest& request) {
    const std::string& hosts = request.launch.hosts;
    if (hosts == "local") return {"-launcher", "fork"};
    Arguments arguments = {"-launcher", "ssh"};
    if (hosts != "ssh") arguments = {"-launcher", "rsh", "-launcher-exec", hosts};
    const size_t port = request.supervisor.rfind(':');
    if (!mention(request.launch.mpirun_args, "-localhost") && port != std::string::npos) {
      append(arguments, {"-localhost", request.supervisor.substr(0, port)});
    }
    return arguments;
  }

  std::string version_;
};

}  // namespace

std::unique_ptr<Launcher> create_mpich(const std::string& version) {
  return std::make_unique<MpichLauncher>(version);
}

}  // namespace leasehold
