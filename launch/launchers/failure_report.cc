#include "launch/launchers/failure_report.h"

#include <algorithm>
#include <charconv>

namespace leasehold {

namespace {

constexpr std::string_view kOurs = "leasehold-train: ";
constexpr int kPeerWasLost = static_cast<int>(Code::kUnavailable);

// Returns true if `whole` is `name` with its domain. (Two names that share only the first label may
// be two hosts, or addresses.)
bool is_short_for(std::string_view name, std::string_view whole) {
  return whole.size() > name.size() && whole.starts_with(name) && whole[name.size()] == '.';
}

std::string_view next_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

std::optional<std::string_view> text_behind(std::string_view line, std::string_view key) {
  const size_t at = line.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  return line.substr(at + key.size());
}

std::optional<int64_t> leading_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end == text.data() || value < 0) return std::nullopt;
  return value;
}

std::string_view host_word(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text.substr(0, text.find_first_of(" :\r\t"));
}

FailureReader::FailureReader(std::string_view output, const std::vector<PlannedHost>& hosts,
                             const LineReader& read_line)
    : hosts_(hosts) {
  std::string_view line = next_line(output);
  while (!line.empty() || !output.empty()) {
    const std::string_view next = next_line(output);
    if (!read_common(line)) read_line(line, next, *this);
    line = next;
  }
}

// Reads a line that any launcher's output may have. Returns false for the launcher's own lines.
bool FailureReader::read_common(std::string_view line) {
  if (line.find(kOurs) != std::string_view::npos) {
    if (line.starts_with(kOurs)) said_ = line.substr(kOurs.size(), kMaxFailureMessageBytes);
    return true;
  }
  if (const auto words = parse_last_words(line)) {
    note_last_words(*words);
    return true;
  }
  // Matches "USER@HOST: Permission denied (publickey)."
  const size_t denied = line.find(": Permission denied (");
  const size_t at = line.rfind('@', denied);
  if (denied != std::string_view::npos && at != std::string_view::npos && at < denied) {
    note_lost(line.substr(at + 1, denied - at - 1));
    launcher_said(line);
    return true;
  }
  if (!line.starts_with("ssh: ")) return false;
  if (const auto host = text_behind(line, "connect to host ")) note_lost(host_word(*host));
  if (const auto host = text_behind(line, "resolve hostname ")) note_lost(host_word(*host));
  launcher_said(line);
  return true;
}

// Keeps the words of the first rank that names a culprit. Ranks that only lost a peer, or that
// ended later, know less. Ranks that end with 69 may name the peer that they lost, so any other
// code counts more.
void FailureReader::note_last_words(const LastWords& words) {
  const bool named = !report_.faulty_ranks.empty();
  const bool weak = report_.own_code == kPeerWasLost, later_weak = words.exit_code == kPeerWasLost;
  if (named && (!weak || later_weak)) return;
  if (report_.own_code && later_weak && words.ranks.empty()) return;
  if (report_.own_code && !weak && later_weak) return;
  report_.own_code = words.exit_code;
  report_.faulty_ranks = words.ranks;
  report_.message = said_;
}

void FailureReader::note_lost(std::string_view host) {
  const std::string name = calendar_name(host);
  if (name.empty() || std::ranges::find(report_.lost, name) != report_.lost.end()) return;
  report_.lost.push_back(name);
}

void FailureReader::launcher_said(std::string_view text) {
  launcher_said_ = text.substr(0, kMaxFailureMessageBytes);
}

std::string FailureReader::calendar_name(std::string_view name) const {
  const PlannedHost* alike = nullptr;
  for (const PlannedHost& host : hosts_) {
    if (host.host == name) return host.host;
    if (!is_short_for(name, host.host) && !is_short_for(host.host, name)) continue;
    if (alike != nullptr) return std::string(name);  // two hosts match, so the name is ambiguous
    alike = &host;
  }
  return alike != nullptr ? alike->host : std::string(name);
}

FailureReport FailureReader::take() {
  if (report_.faulty_ranks.empty() && !said_.empty()) report_.message = said_;
  if (report_.message.empty()) report_.message = launcher_said_;
  return std::move(report_);
}

std::string host_of_rank(const std::vector<PlannedHost>& hosts, int64_t rank) {
  for (const PlannedHost& host : hosts) {
    if (rank < host.slots) return rank < 0 ? "" : host.host;
    rank -= host.slots;
  }
  return "";
}

}  // namespace leasehold
