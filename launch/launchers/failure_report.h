// The contents of a failed generation's output: the first rank to fail, the hosts that the launcher
// lost, and the program's own words.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/launchers/last_words.h"
#include "launch/leases/planner.h"

namespace leasehold {

struct FailureReport {
  std::optional<int64_t> rank;    // the first to end, as the launcher says
  std::string host;               // of the first process to end, where the launcher says no more
  std::vector<std::string> lost;  // hosts that the launcher or its agent could not reach
  bool lost_unnamed = false;      // a host was lost, and the launcher does not say which
  // The code of the generation, where the launcher's own exit code is a mixture or a lie.
  std::optional<int> exit_code;
  std::optional<int> own_code;    // of leasehold-train, by its own last words; never 0
  std::vector<int> faulty_ranks;  // whose fault that is, by those words; empty: they do not say
  // The words that leasehold-train says with that code, else its last ones, else the launcher's;
  // may be empty.
  std::string message;
  bool no_program = false;  // the launcher could not start the program of `rank`, or on `host`
};

inline constexpr size_t kMaxFailureMessageBytes = 1000;

// Reads output line by line into a report: the lines that leasehold-train and ssh write, the same
// under every launcher, and the launcher's own through `read_line`.
class FailureReader {
 public:
  // Called for each line that is the launcher's, with the line after it (empty at the end).
  using LineReader =
      std::function<void(std::string_view line, std::string_view next, FailureReader& reader)>;

  FailureReader(std::string_view output, const std::vector<PlannedHost>& hosts,
                const LineReader& read_line);

  FailureReport& report() { return report_; }
  // Adds a host that was lost, by any of its names.
  void note_lost(std::string_view host);
  // Notes a message for a report in which leasehold-train says nothing; the last one counts.
  void launcher_said(std::string_view text);
  // Returns the calendar's name of a host that calls itself `name`: the same, or the only one that
  // is the same with or without its domain; else `name` itself.
  std::string calendar_name(std::string_view name) const;

  // Gives the report away; the reader is of no use afterwards.
  FailureReport take();

 private:
  bool read_common(std::string_view line);
  void note_last_words(const LastWords& words);

  const std::vector<PlannedHost>& hosts_;
  FailureReport report_;
  std::string launcher_said_;
  std::string said_;  // the newest words of leasehold-train
};

// For readers of lines. Returns the text that follows `key` in `line`; none without the key.
std::optional<std::string_view> text_behind(std::string_view line, std::string_view key);
// Returns the number that `text` begins with; none when that is no number, or negative.
std::optional<int64_t> leading_number(std::string_view text);
// Returns the first word of `text`. A host may have dots in its name: only blanks and a colon end
// the word.
std::string_view host_word(std::string_view text);

// Returns the host that runs `rank`: ranks are dealt in the order of the hosts. "" when no host
// does.
std::string host_of_rank(const std::vector<PlannedHost>& hosts, int64_t rank);

}  // namespace leasehold
