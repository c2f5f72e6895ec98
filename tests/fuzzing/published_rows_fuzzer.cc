// Any text as a table of published steps: refused with file and line, or rows each of which has a
// finite step on a part that has all figures.
#include <cmath>

#include "launch/plan/published_rows.h"
#include "launch/plan/step_time.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

// Deep pipelines of many microbatches are executed action by action: too slow for a fuzzer.
bool is_small(const StepQuestion& question) {
  return question.pipeline * question.chunks * question.microbatches < 4096;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto read = parse_published_rows(text, "rows.tsv");
  if (!read.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(read.status().code() == Code::kBadData);
    LEASEHOLD_FUZZ_REQUIRE(read.status().message().starts_with("rows.tsv:"));
    return 0;
  }
  static const Hardware kHardware = shipped_hardware("GB300").value();
  for (const RefusedRow& refused : read->refused) {
    LEASEHOLD_FUZZ_REQUIRE(refused.status.code() == Code::kBadData);
    LEASEHOLD_FUZZ_REQUIRE(refused.status.message().starts_with("rows.tsv:"));
  }
  for (const PublishedRow& row : read->rows) {
    LEASEHOLD_FUZZ_REQUIRE(!row.id.empty() && row.question.world() == row.num_slots);
    if (!is_small(row.question)) continue;
    const double seconds = step_time(row.question, kHardware).total_s();
    LEASEHOLD_FUZZ_REQUIRE(std::isfinite(seconds) && seconds > 0);
  }
  return 0;
}

}  // namespace leasehold
