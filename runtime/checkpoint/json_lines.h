// Logs of one JSON object a line, as appended by a writer that may die in the middle of a line.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"

namespace leasehold {

// Reads the file once, in blocks, calling `line` with each line that ends in a newline (without it)
// and its offset, from the line on that begins at `begin_bytes`. Returns the offset after the last
// newline. An absent file is empty. kBadData for a line of more than 16 MiB.
Result<int64_t> for_each_line(
    FileSystem& files, const std::string& path,
    const std::function<void(std::string_view line, int64_t offset)>& line,
    int64_t begin_bytes = 0);

// Looks for a member as text: the integer, 0 or more, after the first "name": of the line. Enough
// for an index over lines of our own, at memory speed.
std::optional<int64_t> find_integer(std::string_view line, std::string_view name);
std::optional<int64_t> find_step(std::string_view line);

bool is_json_object(std::string_view line);

// A member of a line as JSON text ("3.1400000000000001" and "3.14" give the same); nothing when it
// has none.
std::optional<std::string> member_text(std::string_view line, const std::string& name);

// One JSON object of strings and integers, in this order, without newline. Text that is not UTF-8
// is replaced.
std::string event_line(const std::string& time, int64_t generation, const std::string& event,
                       const std::string& reason,
                       const std::vector<std::pair<std::string, std::string>>& details);

}  // namespace leasehold
