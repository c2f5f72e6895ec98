// What agents, operators and the supervisor say to each other over HTTP. All bodies are JSON; every
// request carries "Authorization: Bearer TOKEN".
//   POST /report   an agent's Report; answers 200 with an Answer, 409 when its generation is not the
//                  present one (it must leave without publishing), 400, 401, 413
//   GET  /state    operators: the supervisor's state          POST /drain  operators: stop the job
//   GET  /metrics  operators: Prometheus text
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

struct Report {
  int64_t generation = 0;
  std::string node;
  int64_t rank = 0;       // of the world
  int64_t pid = 0;
  int64_t step = 0;       // steps done
  std::string phase;      // "starting", "restoring", "training", "validating", "saving", "leaving"
  int64_t committed_step = -1;  // newest that survives the loss of one node; -1: none
  int64_t durable_step = -1;    // newest durable checkpoint; -1: none
  double step_time_s = 0;       // of the newest step; 0: none yet
  double save_time_s = 0;       // of the newest durable save; 0: none yet
};

struct Answer {
  bool drain = false;
  std::string reason;
};

inline constexpr int64_t kMaxReportBytes = 16 << 10;

std::string to_json(const Report& report);
std::string to_json(const Answer& answer);
// Strict (fuzzed): kBadData, naming the member, for anything but such an object of sane values.
Result<Report> parse_report(std::string_view text);
Result<Answer> parse_answer(std::string_view text);

// 32 hexadecimal digits from the system's source of randomness.
Result<std::string> make_token();

}  // namespace leasehold
