// The last words: a line that leasehold-train writes for its parent before it ends, with its exit
// code and the ranks at fault. A launcher may lose the code, and knows nothing of faults.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace leasehold {

struct LastWords {
  int exit_code = 0;       // 1 to 255
  std::vector<int> ranks;  // at fault, ascending; empty if the line names none
};

// Returns "leasehold-train ends with exit code 66, the fault of ranks 2-3,7", without a newline.
std::string last_words(int exit_code, const std::vector<int>& ranks);

// Parses such a line; nullopt for any other. A list of more than a million ranks counts as empty.
std::optional<LastWords> parse_last_words(std::string_view line);

}  // namespace leasehold
