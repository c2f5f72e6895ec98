#include "launch/start_facts.h"

#include <algorithm>
#include <array>

#include "launch/job_schema.h"
#include "runtime/base/digest.h"

namespace leasehold {

namespace {

// Keys that each rank acts on alone.
constexpr std::array<std::string_view, 4> kOwn = {"run.name", "device.threads", "device.mode",
                                                  "device.delay_seed"};
constexpr std::string_view kTimeout = "launch.stuck_timeout_s";

bool is_common(const JobKey& key) {
  const std::string name = key.full_name();
  if (key.is_path || std::ranges::find(kOwn, name) != kOwn.end()) return false;
  const bool is_supervisors = key.table == "launch" || key.table == "lease";
  return !is_supervisors || name == kTimeout;
}

}  // namespace

std::vector<StartFact> start_facts(const JobFile& job, const StartInputs& inputs) {
  const std::string& tokenizer = job.tokenizer_json;
  std::vector<StartFact> facts = {
      {"the version of leasehold-train", inputs.version},
      {"the digest of data.train", inputs.train_digest},
      {"the digest of data.validation",
       inputs.validation_digest.empty() ? "none" : inputs.validation_digest},
      {"the digest of the tokenizer", digest128(tokenizer.data(), tokenizer.size()).to_hex()},
      {"run.start_from", job.run.start_from.empty() ? "not given" : "given"},
      {"--fork", inputs.fork ? "given" : "not given"},
      {"--stop-after", inputs.stop_after ? fmt::format("{}", *inputs.stop_after) : "not given"}};
  for (const JobKey& key : job_keys()) {
    if (is_common(key)) facts.push_back({key.full_name(), job_value_toml(key, job)});
  }
  return facts;
}

}  // namespace leasehold
