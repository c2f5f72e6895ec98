// Tells how long a training step takes: the sum of terms, each with its formula. Pure; microseconds
// to compute without a pipeline, milliseconds with a deep one.
#pragma once

#include <array>
#include <string_view>

#include "launch/plan/hardware.h"
#include "launch/plan/method.h"
#include "launch/plan/step_question.h"

namespace leasehold {

enum class Term {
  kProducts,
  kAttention,
  kMemoryWork,
  kRecompute,
  kTensor,
  kContext,
  kWeights,
  kHead,
  kPipeline,
  kData,
  kOptimizer,
  kConstant,
  kStragglers,
};
inline constexpr size_t kNumTerms = 13;

struct TermWords {
  std::string_view key;      // in JSON
  std::string_view meaning;  // one line
  std::string_view source;   // of its constants
};
const TermWords& words_of(Term term);

struct StepTime {
  std::array<double, kNumTerms> seconds{};  // they sum to the step
  double recompute_share = 0;               // of the layers' forwards

  double& operator[](Term term) { return seconds[static_cast<size_t>(term)]; }
  double operator[](Term term) const { return seconds[static_cast<size_t>(term)]; }
  double total_s() const;
};

// Returns the terms of a step. The hardware must have the figures that the question needs: see
// missing_figures.
StepTime step_time(const StepQuestion& question, const Hardware& hardware,
                   const StepMethod& method = {});

// Says which figure of the hardware the question needs and it lacks, and what to write; empty when
// nothing is missing.
std::string missing_figures(const StepQuestion& question, const Hardware& hardware);

}  // namespace leasehold
