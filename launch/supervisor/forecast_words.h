// How the supervisor asks `leasehold-train --forecast` what layouts need, and how it answers.
#pragma once

#include <string>
#include <string_view>

#include "launch/leases/layout.h"
#include "runtime/base/status.h"

namespace leasehold {

// WORLD:PIPELINE:CHUNKS:ZERO
std::string forecast_argument(const LayoutOfWorld& question);
// kUsage, naming the text and the form, for anything else.
Result<LayoutOfWorld> parse_forecast_argument(std::string_view text);

// {"world": 4, "pipeline": 2, "chunks": 1, "zero": 3, "bytes": 123456}, without newline.
std::string forecast_line(const LayoutOfWorld& layout, int64_t bytes);
// Of all such lines in a program's output; other lines are left out. Strict within a line:
// kBadData.
Result<MemoryForecasts> parse_forecasts(std::string_view output);

}  // namespace leasehold
