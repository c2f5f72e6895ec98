#include "launch/supervisor/process_identity.h"

#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

constexpr int kSweeps = 8;

std::string slurp(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Stat {
  char state = 0;
  int64_t session = 0;
  uint64_t start_ticks = 0;
};

// proc(5). The name in parentheses may hold anything, so that the fields behind its end count.
std::optional<Stat> read_stat(int64_t pid) {
  const std::string text = slurp(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  Stat stat;
  std::string skipped;
  fields >> stat.state >> skipped >> skipped >> stat.session;  // 3 to 6
  for (int field = 7; field <= 21; ++field) fields >> skipped;
  fields >> stat.start_ticks;
  if (!fields) return std::nullopt;
  return stat;
}

bool is_dead(const Stat& stat) { return stat.state == 'Z' || stat.state == 'X'; }

std::string boot_id() {
  std::string id = slurp("/proc/sys/kernel/random/boot_id");
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

std::optional<int64_t> process_number(const std::string& name) {
  int64_t pid = 0;
  const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), pid);
  const bool whole = failure == std::errc() && end == name.data() + name.size();
  return whole ? std::optional(pid) : std::nullopt;
}

int64_t sweep(const ProcessIdentity& leader, bool spare_leader) {
  int64_t hit = 0;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry("/proc", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const auto pid = process_number(entry->path().filename());
    if (!pid || (spare_leader && *pid == leader.pid)) continue;
    const auto stat = read_stat(*pid);
    if (!stat || stat->session != leader.pid || is_dead(*stat)) continue;
    if (::kill(static_cast<pid_t>(*pid), SIGKILL) == 0) ++hit;
  }
  return hit;
}

}  // namespace

Result<ProcessIdentity> identify_process(int64_t pid) {
  const auto stat = read_stat(pid);
  if (!stat || is_dead(*stat)) return error(Code::kMissingInput, "there is no process {}", pid);
  return ProcessIdentity{pid, stat->start_ticks, boot_id()};
}

bool is_alive(const ProcessIdentity& process) {
  const auto present = identify_process(process.pid);
  return present.ok() && *present == process;
}

bool signal_process(const ProcessIdentity& process, int signal) {
  return is_alive(process) && ::kill(static_cast<pid_t>(process.pid), signal) == 0;
}

int64_t kill_session(const ProcessIdentity& leader, bool spare_leader) {
  if (leader.pid <= 1 || leader.boot != boot_id()) return 0;
  // The kernel gives a number to nobody else while a session is named after it; a process that has
  // it and began at another time leads a new session.
  const auto present = identify_process(leader.pid);
  if (present.ok() && *present != leader) return 0;
  int64_t hit = 0;
  for (int i = 0; i < kSweeps; ++i) {
    const int64_t now = sweep(leader, spare_leader);
    if (now == 0) break;
    hit += now;
  }
  return hit;
}

std::string encode_identity(const ProcessIdentity& process) {
  const nlohmann::ordered_json object = {
      {"pid", process.pid}, {"start_ticks", process.start_ticks}, {"boot", process.boot}};
  return object.dump() + "\n";
}

Result<ProcessIdentity> parse_identity(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto json, parse_strict_json(text, file, 1));
  const JsonCursor root(json, file);
  LEASEHOLD_RETURN_IF_ERROR(root.expect_fields({"pid", "start_ticks", "boot"}));
  ProcessIdentity process;
  LEASEHOLD_ASSIGN_OR_RETURN(process.pid, root.field("pid").integer(0, INT32_MAX));
  LEASEHOLD_ASSIGN_OR_RETURN(process.start_ticks, root.field("start_ticks").unsigned_integer());
  LEASEHOLD_ASSIGN_OR_RETURN(process.boot, root.field("boot").string());
  return process;
}

}  // namespace leasehold
