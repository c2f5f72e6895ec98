// The line that leasehold-train writes before it ends, for whoever started it: its exit code, and
// the ranks whose fault that is. A launcher may lose the code, and knows no faults.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace leasehold {

struct LastWords {
  int exit_code = 0;       // 1 to 255
  std::vector<int> ranks;  // to blame, ascending; empty: the line names none
};

// Returns "leasehold-train ends with exit code 66, the fault of ranks 2-3,7", without an end of
// line.
std::string last_words(int exit_code, const std::vector<int>& ranks);

// Reads such a line; none for any other. More than a million ranks are no ranks.
std::optional<LastWords> parse_last_words(std::string_view line);

}  // namespace leasehold
