// Words for text that is not JSON. For sources: brings in nlohmann/json.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace leasehold {

// "line 3, column 18: half of a surrogate pair ...": where the text stops being JSON, and why.
// Lines and columns count from 1, columns in bytes. Always printable, whatever the text holds.
std::string json_problem(const nlohmann::json::exception& problem);

// The same for one line of a file of them: "column 18: ...".
std::string json_line_problem(const nlohmann::json::exception& problem);

}  // namespace leasehold
