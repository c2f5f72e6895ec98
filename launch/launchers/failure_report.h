// Reads the output of a failed generation: the first rank to fail, the hosts that the launcher
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
  std::optional<int64_t> rank;  // the first rank to end, according to the launcher
  // The host of the first process to end, if the launcher names no rank.
  std::string host;
  std::vector<std::string> lost;  // hosts that the launcher or its agent could not reach
  bool lost_unnamed = false;      // a host was lost, and the launcher does not name it
  // The exit code of the generation, if the launcher's own exit code mixes several or is wrong.
  std::optional<int> exit_code;
  std::optional<int> own_code;  // leasehold-train's exit code, from its last words; never 0
  // Ranks that the last words blame; empty if they blame none. With code 69 they are a guess.
  std::vector<int> faulty_ranks;
  // The message of the rank whose last words these are. Without last words, the newest message of
  // leasehold-train, or else of the launcher. May be empty.
  std::string message;
  bool no_program = false;  // the launcher could not start the program of `rank`, or on `host`
};

inline constexpr size_t kMaxFailureMessageBytes = 1000;

// A FailureReader reads output line by line into a report. It reads the lines of leasehold-train
// and ssh itself, since they are the same under every launcher, and passes the launcher's own lines
// to `read_line`.
class FailureReader {
 public:
  // Called for each of the launcher's lines, with the line after it (empty at the end).
  using LineReader =
      std::function<void(std::string_view line, std::string_view next, FailureReader& reader)>;

  FailureReader(std::string_view output, const std::vector<PlannedHost>& hosts,
                const LineReader& read_line);

  FailureReport& report() { return report_; }
  // Adds a lost host, by any of its names.
  void note_lost(std::string_view host);
  // Notes a message for a report without a message of leasehold-train. The last one counts.
  void launcher_said(std::string_view text);
  // Returns the calendar's name of a host that calls itself `name`: the same name, or the only name
  // that equals it with or without a domain. Otherwise returns `name`.
  std::string calendar_name(std::string_view name) const;

  // Moves the report out. The reader must not be used afterwards.
  FailureReport take();

 private:
  bool read_common(std::string_view line);
  void note_last_words(const LastWords& words);

  const std::vector<PlannedHost>& hosts_;
  FailureReport report_;
  std::string launcher_said_;
  std::string said_;  // the newest words of leasehold-train
};

// Returns the text after `key` in `line`, for readers of lines; nullopt without the key.
std::optional<std::string_view> text_behind(std::string_view line, std::string_view key);
// Returns the number at the start of `text`; nullopt if there is none or it is negative.
std::optional<int64_t> leading_number(std::string_view text);
// Returns the first word of `text`. Only blanks and a colon end the word, since a host name may
// have dots.
std::string_view host_word(std::string_view text);

// Returns the host that runs `rank`; "" if none does. Ranks are assigned in the order of the hosts.
std::string host_of_rank(const std::vector<PlannedHost>& hosts, int64_t rank);

}  // namespace leasehold
