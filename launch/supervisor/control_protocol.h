// What agents, operators and the supervisor say to each other over HTTP. All bodies are JSON; every
// request carries "Authorization: Bearer TOKEN".
//   cluster port
//     POST /report   an agent's Report; answers 200 with an Answer, 409 when its generation is not
//                    the present one: it must leave without publishing
//   operators' port
//     GET  /state    the supervisor's state
//     POST /drain    stop the job; body empty or {"reason": "..."}
//     GET  /metrics  Prometheus text
// What is refused has the body {"error": "..."}: 400 malformed, 401 token missing or wrong, 404 no
// such path, 405 not with this method, 408 too slow, 411 and 413 a body without its size or above
// kMaxReportBytes, 431 headers too long.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

inline constexpr std::array<std::string_view, 6> kPhases = {"starting",   "restoring", "training",
                                                            "validating", "saving",    "leaving"};

struct Report {
  int64_t generation = 0;
  std::string node;             // [A-Za-z0-9][A-Za-z0-9._-]*
  int64_t rank = 0;             // of the world
  int64_t pid = 0;              // at least 1
  int64_t step = 0;             // steps done
  std::string phase;            // one of kPhases
  int64_t committed_step = -1;  // newest that survives the loss of one node; -1: none
  int64_t durable_step = -1;    // newest durable checkpoint; -1: none
  double step_time_s = 0;       // of the newest step; 0: none yet
  double save_time_s = 0;       // of the newest durable save; 0: none yet
  // Of the newest step: time of communication over the data axis, and how much of it computation
  // stood still for (runtime/comm/communication_meter.h); 0: nothing was measured.
  double communication_s = 0;
  double exposed_s = 0;
  bool operator==(const Report&) const = default;
};

struct Answer {
  bool drain = false;
  std::string reason;
  bool operator==(const Answer&) const = default;
};

inline constexpr int64_t kMaxReportBytes = 16 << 10;

// Bytes that are not UTF-8 become U+FFFD.
std::string to_json(const Report& report);
std::string to_json(const Answer& answer);
std::string drain_to_json(const std::string& reason);
std::string error_to_json(const std::string& message);

// Strict (fuzzed): kBadData, naming the member, for anything but such an object of sane values, and
// for a text above kMaxReportBytes.
Result<Report> parse_report(std::string_view text);
Result<Answer> parse_answer(std::string_view text);
// The reason of a POST /drain; "an operator asked for it" when none is given.
Result<std::string> parse_drain(std::string_view text);
// What error_to_json said; `fallback` for any other text.
std::string parse_error(std::string_view text, const std::string& fallback);

// 32 hexadecimal digits from the system's source of randomness.
Result<std::string> make_token();
// Takes the same time wherever they differ. An empty token is like no other.
bool same_token(std::string_view given, std::string_view expected);

}  // namespace leasehold
