#include "launch/plan/job_plan.h"

#include <algorithm>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launch/plan/plan_report.h"
#include "tests/launch/job_text.h"

namespace leasehold {
namespace {

const std::vector<std::string> kOnGpus = {"device.kind=cuda", "device.precision=bf16",
                                          "model.layers=4", "batch.lanes=8"};

class JobPlanTest : public testing::Test {
 protected:
  const Hardware h100_ = shipped_hardware("H100").value();
  const JobFile job_ = make_job(kOnGpus);

  PlanReport report() const {
    PlanReport report;
    report.job_name = "small";
    report.precision = "bf16";
    report.hardware = h100_;
    report.world = 4;
    report.world_is = "--world";
    report.tokens_of_step = 512;
    report.target_tokens = 51200;
    report.plan = plan_job(job_, h100_, 4).value();
    report.own = own_job_layout(job_);
    report.memory_limit_bytes = 1000;
    return report;
  }
};

TEST_F(JobPlanTest, LayoutsAreRankedByTheirStep) {
  const JobPlan plan = plan_job(job_, h100_, 4).value();
  ASSERT_GT(plan.layouts.size(), 10);
  for (size_t i = 1; i < plan.layouts.size(); ++i) {
    EXPECT_LE(plan.layouts[i - 1].step.seconds, plan.layouts[i].step.seconds);
  }
  const auto is_own = [&](const PlannedLayout& planned) {
    return planned.layout == own_job_layout(job_);
  };
  EXPECT_EQ(std::count_if(plan.layouts.begin(), plan.layouts.end(), is_own), 1);
  for (const PlannedLayout& planned : plan.layouts) {
    EXPECT_TRUE(validate(with_layout(job_, planned.layout), static_cast<int>(planned.ranks)).ok());
    EXPECT_LE(planned.ranks, 4);
    EXPECT_LT(planned.step.low_s, planned.step.seconds);
  }
}

TEST_F(JobPlanTest, LayoutsThatDoNotDivideAreRefusedWithTheReason) {
  const JobPlan plan = plan_job(job_, h100_, 8).value();
  ASSERT_FALSE(plan.refused.empty());
  for (const RefusedLayout& refused : plan.refused) {
    EXPECT_TRUE(refused.layout.tensor == 8 || refused.layout.layout.pipeline == 8);
    EXPECT_NE(refused.why.find(refused.layout.tensor == 8 ? "tensor" : "pipeline"),
              std::string::npos)
        << refused.why;
  }
}

TEST_F(JobPlanTest, LanesThatDoNotDivideMakeTheSlowestRankTheStep) {
  const auto seconds = [&](int64_t world) {
    return plan_layout(job_, h100_, world).value().time[Term::kProducts];
  };
  EXPECT_DOUBLE_EQ(seconds(7), seconds(4));  // eight lanes on seven ranks: two on one of them
  EXPECT_DOUBLE_EQ(seconds(4), 2 * seconds(8));
  EXPECT_DOUBLE_EQ(seconds(16), seconds(8));
  EXPECT_EQ(plan_layout(job_, h100_, 16)->ranks, 8);
}

TEST_F(JobPlanTest, ThreadsMultiplyTheFiguresOfACpu) {
  const Hardware cpu = shipped_hardware("CPU").value();
  const double one = plan_layout(make_job(), cpu, 1)->step.seconds;
  const double two = plan_layout(make_job({"device.threads=2"}), cpu, 1)->step.seconds;
  EXPECT_NEAR(one / two, 2, 0.1);
}

TEST_F(JobPlanTest, AMissingFigureIsNamed) {
  Hardware part = h100_;
  part.products[Precision::kBf16] = 0;
  const Status status = plan_job(job_, part, 4).status();
  EXPECT_EQ(status.code(), Code::kBadConfig);
  EXPECT_NE(status.message().find("products.bf16"), std::string::npos) << status.message();
}

TEST_F(JobPlanTest, TermsOfTheJsonSumToTheStep) {
  const PlanReport report = this->report();
  const auto json = nlohmann::json::parse(plan_json(report));
  double sum = 0;
  for (const auto& term : json["terms"]) sum += term["seconds"].get<double>();
  EXPECT_NEAR(sum, json["layout"]["step_s"].get<double>(), 1e-12);
  EXPECT_EQ(json["layouts"].size(), report.plan.layouts.size());
  EXPECT_EQ(json["rejected"].size(), report.plan.refused.size());
  EXPECT_NEAR(json["target_s"].get<double>(), 100 * sum, 1e-9);
}

TEST_F(JobPlanTest, GoodputFollowsFromWhatAFailureCosts) {
  PlanReport report = this->report();
  const PlannedLayout& planned = report.plan.layouts.front();
  report.failures = {.restart_s = 600, .steps_of_interval = 1, .snapshots = true, .save_s = 60};
  const double with_snapshots = goodput_of(report, planned, 4000);
  report.failures.snapshots = false;
  report.failures.steps_of_interval = 100000;
  EXPECT_LT(goodput_of(report, planned, 4000), with_snapshots);
  EXPECT_LT(with_snapshots, 1);
  EXPECT_NE(plan_text(report).find("checkpoint.every_steps = "), std::string::npos);
  report.failures.steps_of_interval = 0;
  EXPECT_NE(plan_text(report).find("nothing is kept before the end"), std::string::npos);
}

TEST_F(JobPlanTest, WhatDoesNotFitIsRejectedWithWhatItLacks) {
  PlanReport report = this->report();
  const JobLayout fastest = report.plan.layouts.front().layout;
  for (const PlannedLayout& planned : report.plan.layouts) report.memory[planned.layout] = 900;
  report.memory[fastest] = 3000;
  EXPECT_FALSE(layouts_that_fit(report).front()->layout == fastest);
  const auto json = nlohmann::json::parse(plan_json(report));
  EXPECT_NE(json["rejected"][0]["why"].get<std::string>().find("more than there is"),
            std::string::npos);
  EXPECT_NE(plan_text(report).find("rejected"), std::string::npos);
}

}  // namespace
}  // namespace leasehold
