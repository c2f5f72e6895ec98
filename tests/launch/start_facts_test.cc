#include "launch/start_facts.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "launch/job_schema.h"

namespace leasehold {
namespace {

const StartInputs kInputs = {.version = "1", .train_digest = "aa"};

std::string difference(const JobFile& job, const StartInputs& inputs = kInputs) {
  return first_difference(start_facts(job, inputs), start_facts(JobFile(), kInputs), 0);
}

TEST(StartFacts, EveryInputIsOne) {
  EXPECT_EQ(difference(JobFile()), "");
  StartInputs inputs = kInputs;
  inputs.version = "2";
  EXPECT_EQ(difference(JobFile(), inputs),
            "the version of leasehold-train is 2 here and 1 on rank 0");
  inputs = kInputs;
  inputs.train_digest = "bb";
  EXPECT_NE(difference(JobFile(), inputs).find("data.train is bb"), std::string::npos);
  inputs = kInputs;
  inputs.validation_digest = "cc";
  EXPECT_NE(difference(JobFile(), inputs).find("data.validation is cc here and none"),
            std::string::npos);
  inputs = kInputs;
  inputs.fork = true;
  EXPECT_NE(difference(JobFile(), inputs).find("--fork"), std::string::npos);
  inputs = kInputs;
  inputs.stop_after = 3;
  EXPECT_NE(difference(JobFile(), inputs).find("--stop-after is 3"), std::string::npos);
  JobFile job;
  job.tokenizer_json = "{}";
  EXPECT_NE(difference(job).find("tokenizer"), std::string::npos);
}

// A key added to the table later is compared too, unless it is left out here.
TEST(StartFacts, EveryKeyThatRanksActOnTogetherIsOne) {
  const std::vector<std::string> left_out = {"run.name", "device.threads", "device.mode",
                                             "device.delay_seed"};
  const std::vector<StartFact> facts = start_facts(JobFile(), kInputs);
  for (const JobKey& key : job_keys()) {
    const std::string name = key.full_name();
    const bool is_supervisors =
        (key.table == "launch" || key.table == "lease") && name != "launch.stuck_timeout_s";
    const bool is_own = std::ranges::find(left_out, name) != left_out.end();
    // For run.start_from only its presence is compared.
    const bool expected = name == "run.start_from" || !(key.is_path || is_supervisors || is_own);
    EXPECT_EQ(std::ranges::find(facts, name, &StartFact::name) != facts.end(), expected) << name;
  }
}

TEST(StartFacts, PathsMayDifferBetweenNodes) {
  JobFile job;
  job.run.dir = "b/run";
  job.data.train = "b/train.bin";
  EXPECT_EQ(difference(job), "");
  job.optimizer.lr = 0.5;
  EXPECT_NE(difference(job).find("optimizer.lr is 0.5 here"), std::string::npos);
}

}  // namespace
}  // namespace leasehold
