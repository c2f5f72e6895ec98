#include "launch/supervisor/outcome.h"

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

using nlohmann::ordered_json;

constexpr double kLatestTime = 1e12;

ordered_json encode_optional(const std::optional<int>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

Status read_optional(const JsonCursor& at, int64_t minimum, std::optional<int>& out) {
  if (at.is_null()) return ok_status();
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t value, at.integer(minimum, 255));
  out = static_cast<int>(value);
  return ok_status();
}

}  // namespace

std::string describe(const Outcome& outcome) {
  if (outcome.signal) return fmt::format("signal {}", *outcome.signal);
  return fmt::format("exit code {}", outcome.exit_code.value_or(-1));
}

std::string encode_outcome(const Outcome& outcome) {
  const ordered_json object = {{"exit_code", encode_optional(outcome.exit_code)},
                               {"signal", encode_optional(outcome.signal)},
                               {"begin_s", outcome.begin_s},
                               {"end_s", outcome.end_s}};
  return object.dump() + "\n";
}

Result<Outcome> parse_outcome(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto json, parse_strict_json(text, file, 1));
  const JsonCursor root(json, file);
  LEASEHOLD_RETURN_IF_ERROR(root.expect_fields({"exit_code", "signal", "begin_s", "end_s"}));
  Outcome outcome;
  LEASEHOLD_RETURN_IF_ERROR(read_optional(root.field("exit_code"), 0, outcome.exit_code));
  LEASEHOLD_RETURN_IF_ERROR(read_optional(root.field("signal"), 1, outcome.signal));
  LEASEHOLD_ASSIGN_OR_RETURN(outcome.begin_s, root.field("begin_s").number(0, kLatestTime));
  LEASEHOLD_ASSIGN_OR_RETURN(outcome.end_s, root.field("end_s").number(0, kLatestTime));
  if (outcome.exit_code.has_value() == outcome.signal.has_value()) {
    return root.bad("either exit_code or signal has a value");
  }
  return outcome;
}

}  // namespace leasehold
