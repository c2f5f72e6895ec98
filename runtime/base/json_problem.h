// Describes why a text is not JSON. For sources, since it includes nlohmann/json.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace leasehold {

// Says where the text stops being JSON, and why: "line 3, column 18: half of a surrogate pair ...".
// Lines and columns count from 1, columns in bytes. The result is printable whatever the text
// holds.
std::string json_problem(const nlohmann::json::exception& problem);

// Says the same for one line of a file of JSON lines: "column 18: ...".
std::string json_line_problem(const nlohmann::json::exception& problem);

}  // namespace leasehold
