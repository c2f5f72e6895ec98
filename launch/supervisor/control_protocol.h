// Messages of agents, operators and the supervisor over HTTP. All bodies are JSON;
// requests and answers are proved with a key (control_proof.h), agents' with one, operators' with
// another. Whoever asks believes nothing that is not proved.
//   cluster port
//     POST /report   an agent's Report; answers 200 with an Answer, 409 with the present generation
//                    when that is newer than the report's, whose ranks must leave without
//                    publishing, and 503 while the supervisor does not know of such a generation
//   operators' port
//     GET  /state    the supervisor's state
//     POST /drain    stop the job; body empty or {"reason": "..."}
//     GET  /metrics  Prometheus text; also with "Authorization: Bearer TOKEN", for a scraper, whose
//                    token opens nothing else
// A refusal has the body {"error": "..."}: 400 malformed, 401 not proved, or with another
// session, 404 no such path, 405 not with this method, 408 too slow, 411 and 413 a body without its
// size or above kMaxReportBytes, 431 headers too long.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
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
  int64_t number = 0;           // of the agent's reports: each is higher than those before
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
  // Grows while a phase without steps gets on: file operations, rounds of a validation.
  int64_t work_done = 0;
  bool operator==(const Report&) const = default;
};

struct Answer {
  bool drain = false;
  std::string reason;
  bool operator==(const Answer&) const = default;
};

inline constexpr int64_t kMaxReportBytes = 16 << 10;
// Limits of the supervisor's state: counts and seconds beyond are no rank's.
inline constexpr int64_t kMaxReportedCount = int64_t{1} << 40;
inline constexpr double kMaxReportedS = 1e12;

// Bytes that are not UTF-8 become U+FFFD.
std::string to_json(const Report& report);
std::string to_json(const Answer& answer);
std::string drain_to_json(const std::string& reason);
std::string error_to_json(const std::string& message);
// Makes the body that tells an agent that its generation is older than `present`.
std::string fence_to_json(const std::string& message, int64_t present);

// Strict (fuzzed): kBadData, naming the member, for anything but such an object of sane values, and
// for a text above kMaxReportBytes.
Result<Report> parse_report(std::string_view text);
Result<Answer> parse_answer(std::string_view text);
// The reason of a POST /drain; "an operator asked for it" when none is given.
Result<std::string> parse_drain(std::string_view text);
// What error_to_json said; `fallback` for any other text.
std::string parse_error(std::string_view text, const std::string& fallback);
// The present generation that fence_to_json named; nothing for any other text.
std::optional<int64_t> parse_fence(std::string_view text);

}  // namespace leasehold
