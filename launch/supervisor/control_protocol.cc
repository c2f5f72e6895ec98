#include "launch/supervisor/control_protocol.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "runtime/base/json_reader.h"

namespace leasehold {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

constexpr int kDepth = 1;
constexpr size_t kMaxNodeName = 253;  // what DNS allows a host

std::string dump(const ordered_json& object) {
  return object.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

Result<json> parse_small(std::string_view text, const std::string& what) {
  if (std::ssize(text) > kMaxReportBytes) {
    return error(Code::kBadData, "{}: {} bytes; at most {} are taken", what, text.size(),
                 kMaxReportBytes);
  }
  return parse_strict_json(text, what, kDepth);
}

bool is_node_name(std::string_view name) {
  const auto is_alphanumeric = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= kMaxNodeName && is_alphanumeric(name.front()) &&
         std::ranges::all_of(
             name, [&](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

Result<double> parse_seconds(const JsonCursor& at) { return at.number(0, kMaxReportedS); }

Result<int64_t> parse_count(const JsonCursor& at, int64_t least = 0) {
  return at.integer(least, kMaxReportedCount);
}

}  // namespace

std::string to_json(const Report& report) {
  return dump({{"generation", report.generation},
               {"node", report.node},
               {"rank", report.rank},
               {"pid", report.pid},
               {"number", report.number},
               {"step", report.step},
               {"phase", report.phase},
               {"committed_step", report.committed_step},
               {"durable_step", report.durable_step},
               {"step_time_s", report.step_time_s},
               {"save_time_s", report.save_time_s},
               {"communication_s", report.communication_s},
               {"exposed_s", report.exposed_s},
               {"work_done", report.work_done}});
}

std::string to_json(const Answer& answer) {
  return dump({{"drain", answer.drain}, {"reason", answer.reason}});
}

std::string drain_to_json(const std::string& reason) {
  return dump(ordered_json::object({{"reason", reason}}));
}

std::string error_to_json(const std::string& message) {
  return dump(ordered_json::object({{"error", message}}));
}

std::string fence_to_json(const std::string& message, int64_t present) {
  return dump({{"error", message}, {"generation", present}});
}

Result<Report> parse_report(std::string_view text) {
  const std::string what = "report";
  LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_small(text, what));
  const JsonCursor top(root, what);
  LEASEHOLD_RETURN_IF_ERROR(top.expect_fields(
      {"generation", "node", "rank", "pid", "number", "step", "phase", "committed_step",
       "durable_step", "step_time_s", "save_time_s", "communication_s", "exposed_s"},
      {"work_done"}));
  Report report;
  LEASEHOLD_ASSIGN_OR_RETURN(report.generation, parse_count(top.field("generation")));
  LEASEHOLD_ASSIGN_OR_RETURN(report.node, top.field("node").string());
  if (!is_node_name(report.node)) {
    return top.field("node").bad("a name matches [A-Za-z0-9][A-Za-z0-9._-]*");
  }
  LEASEHOLD_ASSIGN_OR_RETURN(report.rank, parse_count(top.field("rank")));
  LEASEHOLD_ASSIGN_OR_RETURN(report.pid, parse_count(top.field("pid"), 1));
  LEASEHOLD_ASSIGN_OR_RETURN(report.number, parse_count(top.field("number")));
  LEASEHOLD_ASSIGN_OR_RETURN(report.step, parse_count(top.field("step")));
  LEASEHOLD_ASSIGN_OR_RETURN(report.phase, top.field("phase").string());
  if (std::ranges::find(kPhases, report.phase) == kPhases.end()) {
    return top.field("phase").bad(fmt::format("one of {} is expected", fmt::join(kPhases, ", ")));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(report.committed_step, parse_count(top.field("committed_step"), -1));
  LEASEHOLD_ASSIGN_OR_RETURN(report.durable_step, parse_count(top.field("durable_step"), -1));
  LEASEHOLD_ASSIGN_OR_RETURN(report.step_time_s, parse_seconds(top.field("step_time_s")));
  LEASEHOLD_ASSIGN_OR_RETURN(report.save_time_s, parse_seconds(top.field("save_time_s")));
  LEASEHOLD_ASSIGN_OR_RETURN(report.communication_s, parse_seconds(top.field("communication_s")));
  LEASEHOLD_ASSIGN_OR_RETURN(report.exposed_s, parse_seconds(top.field("exposed_s")));
  if (top.has("work_done")) {  // agents of an older program do not count
    LEASEHOLD_ASSIGN_OR_RETURN(report.work_done, top.field("work_done").integer());
  }
  return report;
}

Result<Answer> parse_answer(std::string_view text) {
  const std::string what = "answer";
  LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_small(text, what));
  const JsonCursor top(root, what);
  LEASEHOLD_RETURN_IF_ERROR(top.expect_fields({"drain", "reason"}));
  Answer answer;
  LEASEHOLD_ASSIGN_OR_RETURN(answer.drain, top.field("drain").boolean());
  LEASEHOLD_ASSIGN_OR_RETURN(answer.reason, top.field("reason").string());
  return answer;
}

Result<std::string> parse_drain(std::string_view text) {
  const std::string what = "drain";
  const std::string no_reason = "an operator asked for it";
  if (text.empty()) return no_reason;
  LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_small(text, what));
  const JsonCursor top(root, what);
  LEASEHOLD_RETURN_IF_ERROR(top.expect_fields({}, {"reason"}));
  if (!top.has("reason")) return no_reason;
  return top.field("reason").string();
}

std::string parse_error(std::string_view text, const std::string& fallback) {
  const Result<json> root = parse_small(text, "error");
  if (!root.ok() || !root->is_object() || !root->contains("error")) return fallback;
  const json& message = root->at("error");
  return message.is_string() ? message.get<std::string>() : fallback;
}

std::optional<int64_t> parse_fence(std::string_view text) {
  const std::string what = "fence";
  const Result<json> root = parse_small(text, what);
  if (!root.ok()) return std::nullopt;
  const JsonCursor top(*root, what);
  if (!top.expect_fields({"error", "generation"}).ok()) return std::nullopt;
  const Result<int64_t> present = parse_count(top.field("generation"), 1);
  return present.ok() ? std::optional(*present) : std::nullopt;
}

}  // namespace leasehold
