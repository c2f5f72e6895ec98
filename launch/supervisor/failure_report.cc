#include "launch/supervisor/failure_report.h"

#include <algorithm>
#include <charconv>

namespace leasehold {

namespace {

constexpr size_t kMaxMessageBytes = 1000;
constexpr std::string_view kOurs = "leasehold-train: ";

// What follows `key` in `line`.
std::optional<std::string_view> behind(std::string_view line, std::string_view key) {
  const size_t at = line.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  return line.substr(at + key.size());
}

std::optional<int64_t> leading_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end == text.data() || value < 0) return std::nullopt;
  return value;
}

// "  Process name: [[31377,1],2]": the rank is 2.
std::optional<int64_t> rank_of_process_name(std::string_view name) {
  const auto rank = behind(name, "],");
  return rank ? leading_integer(*rank) : std::nullopt;
}

// A host may have dots in its name, so that only blanks and a colon end it.
std::string_view host_word(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text.substr(0, text.find_first_of(" :\r\t"));
}

void note_lost(std::string_view host, FailureReport& report) {
  if (host.empty() || std::ranges::find(report.lost, host) != report.lost.end()) return;
  report.lost.emplace_back(host);
}

struct Reader {
  FailureReport report;
  std::string mpirun_said;
  bool first_process_follows = false;

  void read_line(std::string_view line) {
    if (const auto said = behind(line, kOurs)) {
      if (line.starts_with(kOurs)) report.message = said->substr(0, kMaxMessageBytes);
      return;
    }
    if (const auto rank = behind(line, "noticed that process rank ")) {
      report.rank = leading_integer(*rank);
      mpirun_said = line.substr(0, kMaxMessageBytes);
    } else if (line.find("The first process to do so was:") != std::string_view::npos) {
      first_process_follows = true;
    } else if (const auto name = behind(line, "Process name: "); name && first_process_follows) {
      report.rank = rank_of_process_name(*name);
      first_process_follows = false;
    } else if (line.find("Remote daemon:") != std::string_view::npos) {
      if (const auto host = behind(line, " on node ")) note_lost(host_word(*host), report);
    } else if (line.starts_with("ssh: ")) {
      if (const auto host = behind(line, "connect to host ")) note_lost(host_word(*host), report);
      if (const auto host = behind(line, "resolve hostname ")) note_lost(host_word(*host), report);
    } else if (line.starts_with("ORTE ")) {
      mpirun_said = line.substr(0, kMaxMessageBytes);
    }
  }
};

}  // namespace

FailureReport read_failure(std::string_view output) {
  Reader reader;
  while (!output.empty()) {
    const size_t end = std::min(output.find('\n'), output.size());
    reader.read_line(output.substr(0, end));
    output.remove_prefix(std::min(end + 1, output.size()));
  }
  if (reader.report.message.empty()) reader.report.message = reader.mpirun_said;
  return reader.report;
}

std::string host_of_rank(const std::vector<PlannedHost>& hosts, int64_t rank) {
  for (const PlannedHost& host : hosts) {
    if (rank < host.slots) return rank < 0 ? "" : host.host;
    rank -= host.slots;
  }
  return "";
}

}  // namespace leasehold
