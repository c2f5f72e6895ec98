// A whole run over thread ranks: stopped and resumed on other numbers of ranks it leaves the same
// metrics and the same state as the run that nobody disturbed.
#include "tests/runtime/train/trainer_fixture.h"

namespace leasehold {
namespace {

TEST_F(TrainerTest, ResumedOnOtherNumbersOfRanksItIsTheSameRun) {
  ASSERT_TRUE(generation("undisturbed", {}).ok());
  ASSERT_EQ(metrics("undisturbed").size(), static_cast<size_t>(kSteps));
  EXPECT_EQ(generation("moved", {.ranks = 3, .stop_after = 3}).code(), Code::kDrained);
  EXPECT_EQ(generation("moved", {.ranks = 1, .zero_stage = 0, .stop_after = 4}).code(),
            Code::kDrained);
  EXPECT_EQ(generation("moved", {.ranks = 5, .stop_after = 9}).code(), Code::kDrained);
  EXPECT_TRUE(generation("moved", {.ranks = 2, .zero_stage = 0}).ok());
  EXPECT_EQ(metrics("moved"), metrics("undisturbed"));
  EXPECT_EQ(state("moved"), state("undisturbed"));
}

TEST_F(TrainerTest, StartingADoneRunAgainChangesNothing) {
  ASSERT_TRUE(generation("done", {}).ok());
  const auto before = metrics("done");
  EXPECT_TRUE(generation("done", {.ranks = 2}).ok());
  EXPECT_EQ(metrics("done"), before);
}

TEST_F(TrainerTest, ARequestToDrainSavesAndLosesNothing) {
  ASSERT_TRUE(generation("undisturbed", {}).ok());
  const auto at_step = [](int64_t step) {
    return [step](const StepMetrics& metrics, DrainRequest& drain) {
      if (metrics.step == step) drain.request(10);
    };
  };
  // 3 is followed by a step whose validation is due: the request is honoured inside validation, and
  // its line is owed.
  EXPECT_EQ(generation("drained", {.ranks = 2, .on_step = at_step(3)}).code(), Code::kDrained);
  EXPECT_NE(events("drained").find("signal 10"), std::string::npos);
  EXPECT_EQ(generation("drained", {.ranks = 3, .on_step = at_step(8)}).code(), Code::kDrained);
  EXPECT_TRUE(generation("drained", {}).ok());
  EXPECT_EQ(metrics("drained"), metrics("undisturbed"));
  EXPECT_EQ(state("drained"), state("undisturbed"));
}

TEST_F(TrainerTest, ADamagedNewestCheckpointIsPassedOverAndReplayed) {
  ASSERT_TRUE(generation("undisturbed", {}).ok());
  EXPECT_EQ(generation("damaged", {.ranks = 2, .stop_after = 7, .checkpoint_every = 5}).code(),
            Code::kDrained);
  corrupt(run_dir("damaged") + "/checkpoints/step-00000007/shard-00001-of-00002.safetensors", 4000);
  EXPECT_TRUE(generation("damaged", {.ranks = 3}).ok());
  EXPECT_NE(events("damaged").find("checkpoint_rejected"), std::string::npos);
  EXPECT_NE(events("damaged").find("step 5 from"), std::string::npos);
  EXPECT_EQ(metrics("damaged"), metrics("undisturbed"));
  EXPECT_EQ(state("damaged"), state("undisturbed"));
}

TEST_F(TrainerTest, NoGoodCheckpointIsAnErrorNotAFreshStart) {
  EXPECT_EQ(generation("ruined", {.stop_after = 2}).code(), Code::kDrained);
  corrupt(run_dir("ruined") + "/checkpoints/step-00000002/shard-00000-of-00001.safetensors", 4000);
  EXPECT_EQ(generation("ruined", {.ranks = 2}).code(), Code::kBadData);
}

TEST_F(TrainerTest, AReplayedStepThatDiffersStopsTheRun) {
  EXPECT_EQ(generation("tampered", {.stop_after = 6, .checkpoint_every = 5}).code(),
            Code::kDrained);
  throw_if_error(posix_files().remove_all(run_dir("tampered") + "/checkpoints/step-00000006"));
  // One digit of the last line's loss. Not the seventeenth, which need not change the number.
  const std::string path = run_dir("tampered") + "/metrics.jsonl";
  std::string content = read_file(posix_files(), path).value();
  const size_t digit = content.find('.', content.rfind("\"loss\": ")) + 9;
  content[digit] = content[digit] == '5' ? '6' : '5';
  throw_if_error(publish_file(posix_files(), path, content, "tamper"));
  const Status status = generation("tampered", {.ranks = 2});
  EXPECT_EQ(status.code(), Code::kBadData) << status.message();
  EXPECT_NE(events("tampered").find("replay_mismatch"), std::string::npos);
}

TEST_F(TrainerTest, OtherIdentityKeysAreRefusedUnlessForked) {
  EXPECT_EQ(generation("forked", {.stop_after = 4}).code(), Code::kDrained);
  const auto before = metrics("forked");
  const Status refused = generation("forked", {.ranks = 2, .lr = 1e-3});
  EXPECT_EQ(refused.code(), Code::kBadConfig);
  EXPECT_NE(refused.message().find("optimizer.lr"), std::string::npos) << refused.message();
  EXPECT_NE(refused.message().find("--fork"), std::string::npos) << refused.message();
  EXPECT_TRUE(generation("forked", {.ranks = 2, .fork = true, .lr = 1e-3}).ok());
  const auto after = metrics("forked");
  ASSERT_EQ(after.size(), static_cast<size_t>(kSteps));
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
}

TEST_F(TrainerTest, AForkMayComputeInAnotherPrecision) {
  EXPECT_EQ(generation("forked", {.stop_after = 4}).code(), Code::kDrained);
  EXPECT_EQ(generation("forked", {.precision = DType::kBf16}).code(), Code::kBadConfig);
  EXPECT_TRUE(generation("forked", {.ranks = 2, .fork = true, .precision = DType::kBf16}).ok());
  EXPECT_EQ(metrics("forked").size(), static_cast<size_t>(kSteps));
  EXPECT_EQ(generation("forked", {}).code(), Code::kBadConfig);
}

}  // namespace
}  // namespace leasehold
