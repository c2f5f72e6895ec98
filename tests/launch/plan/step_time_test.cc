#include "launch/plan/step_time.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

StepQuestion gpt() {
  StepQuestion question;
  question.model = {.layers = 24,
                    .hidden = 4096,
                    .heads = 32,
                    .kv_heads = 32,
                    .head_dim = 128,
                    .ffn = 16384,
                    .vocab = 51200,
                    .sequence = 2048,
                    .gated = false};
  question.microbatch = 4;
  question.microbatches = 8;
  question.recomputing = Recomputing::kNothing;
  return question;
}

class StepTimes : public testing::Test {
 protected:
  const Hardware h100_ = shipped_hardware("H100").value();
  double seconds(const StepQuestion& question) const {
    return step_time(question, h100_).total_s();
  }
};

TEST_F(StepTimes, TermsSumToTheStepAndAreNotNegative) {
  StepQuestion question = gpt();
  question.tensor = 2;
  question.pipeline = 4;
  question.chunks = 3;
  question.data = 8;
  const StepTime time = step_time(question, h100_);
  double sum = 0;
  for (const double term : time.seconds) {
    EXPECT_GE(term, -1e-12);
    sum += term;
  }
  EXPECT_DOUBLE_EQ(sum, time.total_s());
  EXPECT_GT(time[Term::kPipeline], 0);
  EXPECT_GT(time[Term::kTensor], 0);
  EXPECT_EQ(time[Term::kContext], 0);
}

TEST_F(StepTimes, MoreWorkTakesLonger) {
  StepQuestion more = gpt();
  more.microbatches *= 2;
  EXPECT_NEAR(seconds(more) / seconds(gpt()), 2, 0.05);
  StepQuestion recomputed = gpt();
  recomputed.recomputing = Recomputing::kLayers;
  EXPECT_NEAR(seconds(recomputed) / seconds(gpt()), 4.0 / 3, 0.06);
}

TEST_F(StepTimes, NarrowerFormatsAreFaster) {
  const Hardware gb300 = shipped_hardware("GB300").value();
  double last = 1e9;
  for (const Precision precision :
       {Precision::kFp32, Precision::kBf16, Precision::kFp8, Precision::kFp4}) {
    StepQuestion question = gpt();
    question.precision = precision;
    const double now = step_time(question, gb300).total_s();
    EXPECT_LT(now, last) << precision_name(precision);
    last = now;
  }
}

TEST_F(StepTimes, ShardedWeightsCostExchanges) {
  StepQuestion question = gpt();
  question.data = 64;
  const double replicated = seconds(question);
  question.sharding = Sharding::kWeights;
  EXPECT_GT(seconds(question), replicated);
  EXPECT_GT(step_time(question, h100_)[Term::kWeights], 0);
}

TEST_F(StepTimes, LayersThatDoNotDivideAreSharedOut) {
  StepQuestion question = gpt();
  question.model.layers = 126;
  question.pipeline = 8;
  question.chunks = 8;
  question.microbatches = 64;
  const double uneven = seconds(question);
  question.model.layers = 128;
  EXPECT_LT(uneven, seconds(question));
  EXPECT_GT(uneven, 0.9 * seconds(question));
}

TEST_F(StepTimes, SaysWhichFigureIsMissing) {
  StepQuestion question = gpt();
  EXPECT_EQ(missing_figures(question, h100_), "");
  question.precision = Precision::kFp4;
  EXPECT_NE(missing_figures(question, h100_).find("products.fp4"), std::string::npos);
  Hardware lonely = h100_;
  lonely.network_bytes_s = 0;
  question = gpt();
  question.data = 16;
  EXPECT_NE(missing_figures(question, lonely).find("links.network_gb_s"), std::string::npos);
  lonely.domain_bytes_s = 0;
  EXPECT_NE(missing_figures(question, lonely).find("[links]"), std::string::npos);
}

}  // namespace
}  // namespace leasehold
