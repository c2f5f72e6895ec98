// Fuzzes job files. The input is the text; lines after a line "===" are arguments of --set.
#include <algorithm>
#include <string>
#include <vector>

#include "launch/ascii_toml.h"
#include "launch/job_file.h"
#include "launch/job_schema.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

constexpr const char* kPath = "job.toml";

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < 16) {
    const size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

void require_good_error(const Status& status) {
  LEASEHOLD_FUZZ_REQUIRE(status.code() == Code::kBadConfig || status.code() == Code::kUsage);
  LEASEHOLD_FUZZ_REQUIRE(!status.message().empty());
}

// Checks that, for any text, the TOML library gets ASCII with the same lines.
void try_ascii(std::string_view text) {
  const Result<std::string> ascii = toml_in_ascii(text, kPath);
  if (!ascii.ok()) return require_good_error(ascii.status());
  const auto is_ascii = [](char c) { return (c & 0x80) == 0; };
  LEASEHOLD_FUZZ_REQUIRE(std::all_of(ascii->begin(), ascii->end(), is_ascii));
  LEASEHOLD_FUZZ_REQUIRE(std::count(ascii->begin(), ascii->end(), '\n') ==
                         std::count(text.begin(), text.end(), '\n'));
}

// Writes the keys that the job gives.
std::string to_toml(const JobFile& job) {
  std::string text;
  std::string_view table;
  for (const JobKey& key : job_keys()) {
    if (!job.given.contains(key.full_name())) continue;
    if (key.table != table) text += fmt::format("[{}]\n", key.table);
    table = key.table;
    text += fmt::format("{} = {}\n", key.name, job_value_toml(key, job));
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  constexpr std::string_view kSeparator = "\n===\n";
  const size_t end = input.find(kSeparator);
  std::vector<std::string> overrides;
  if (end != std::string_view::npos) overrides = lines_of(input.substr(end + kSeparator.size()));

  try_ascii(input.substr(0, end));
  const auto parsed = parse_job(input.substr(0, end), kPath, overrides);
  if (!parsed.ok()) {
    require_good_error(parsed.status());
    return 0;
  }
  if (overrides.empty()) {
    const auto again = parse_job(to_toml(parsed.value()), kPath, {});
    LEASEHOLD_FUZZ_REQUIRE(again.ok());
    for (const JobKey& key : job_keys()) {
      LEASEHOLD_FUZZ_REQUIRE(job_value_text(key, again.value()) ==
                             job_value_text(key, parsed.value()));
    }
  }
  JobFile job = parsed.value();
  const Status completed = complete_job(job, 256);
  if (!completed.ok()) {
    require_good_error(completed);
    return 0;
  }
  LEASEHOLD_FUZZ_REQUIRE(identity_keys(job).size() > 20);
  const Status valid = validate(job, 3);
  if (!valid.ok()) require_good_error(valid);
  return 0;
}

}  // namespace leasehold
