// Any text as a hardware file: refused with file and reason, or figures that a step can be told
// from.
#include <cmath>

#include "launch/plan/hardware.h"
#include "launch/plan/step_time.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto hardware = parse_hardware(text, "part.toml");
  if (!hardware.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(hardware.status().code() == Code::kBadConfig);
    LEASEHOLD_FUZZ_REQUIRE(hardware.status().message().starts_with("part.toml"));
    return 0;
  }
  StepQuestion question;
  question.model = {.layers = 4,
                    .hidden = 512,
                    .heads = 4,
                    .kv_heads = 4,
                    .head_dim = 128,
                    .ffn = 2048,
                    .vocab = 1000,
                    .sequence = 512,
                    .gated = false};
  question.tensor = 2;
  question.pipeline = 2;
  question.data = 3;
  for (size_t i = 0; i < kNumPrecisions; ++i) {
    question.precision = static_cast<Precision>(i);
    if (!missing_figures(question, *hardware).empty()) continue;
    const double seconds = step_time(question, *hardware).total_s();
    LEASEHOLD_FUZZ_REQUIRE(std::isfinite(seconds) && seconds > 0);
  }
  return 0;
}

}  // namespace leasehold
