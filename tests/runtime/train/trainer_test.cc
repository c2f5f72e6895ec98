// A whole run over thread ranks: stopped and resumed on other numbers of ranks it leaves the same
// metrics and the same state as the run that nobody disturbed.
#include "runtime/train/trainer.h"

#include <gtest/gtest.h>
#include <mutex>
#include <sstream>

#include "collectives/threads.h"
#include "runtime/checkpoint/state_digest.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr int64_t kSteps = 12;

struct RunSettings {
  int ranks = 1;
  int zero_stage = 1;
  std::optional<int64_t> stop_after;
  int64_t checkpoint_every = 0;
  int64_t validate_every = 4;
  bool fork = false;
  double lr = 3e-3;
  // Called on rank 0 with each step's metrics.
  std::function<void(const StepMetrics&, DrainRequest&)> on_step = [](const StepMetrics&,
                                                                      DrainRequest&) {};
};

class TrainerTest : public testing::Test {
 protected:
  TrainerTest() : train_(directory_ / "train.bin"), validation_(directory_ / "validation.bin") {
    write_random_tokens(train_, 4000, 61, 5);
    write_random_tokens(validation_, 700, 61, 6);
  }

  std::string run_dir(const std::string& name) { return directory_ / name; }

  // One generation. The status of rank 0; all ranks must agree on its code.
  Status generation(const std::string& name, const RunSettings& settings,
                    FileSystem& files = posix_files()) {
    Status result;
    std::mutex mutex;
    std::vector<Code> codes;
    run_ranks(settings.ranks, {}, [&](Communicator& world) {
      const Status status = one_rank(name, settings, files, world);
      std::lock_guard lock(mutex);
      codes.push_back(status.code());
      if (world.rank() == 0) result = status;
    });
    for (const Code code : codes) EXPECT_EQ(code, result.code());
    return result;
  }

  Status one_rank(const std::string& name, const RunSettings& settings, FileSystem& files,
                  Communicator& world) {
    SmallJob job;
    job.options.steps = kSteps;
    job.options.zero_stage = settings.zero_stage;
    job.options.optimizer.lr = settings.lr;
    SmallRank rank(job, train_, world);
    const WindowLoader validation =
        WindowLoader::create(TokenFile::open(posix_files(), validation_).value(), 12, 61, 0)
            .value();
    TrainerOptions options;
    options.run_dir = run_dir(name);
    options.steps = kSteps;
    options.stop_after = settings.stop_after;
    options.validate_every_steps = settings.validate_every;
    options.checkpoint_every_steps = settings.checkpoint_every;
    options.fork = settings.fork;
    options.timeout_s = 60;
    options.node = "here";
    options.job.seed = job.options.seed;
    options.job.identity = {{"optimizer.lr", fmt::format("{}", settings.lr)}};
    options.job.model = to_map(job.model);
    DrainRequest drain;
    RunObserver observer;
    observer.on_step = [&](const StepMetrics& metrics) { settings.on_step(metrics, drain); };
    const std::vector<OperationDigest> arithmetic = {{"linear_forward", 1}};
    Trainer trainer(rank.engine(), world, rank.stream(), files, system_clock(), arithmetic,
                    rank.loader(), &validation, drain, options, observer);
    return trainer.run();
  }

  // loss, grad_norm, lr and validation_loss of every line, as written.
  std::vector<std::string> metrics(const std::string& name) {
    std::istringstream lines(read_file(posix_files(), run_dir(name) + "/metrics.jsonl").value());
    std::vector<std::string> values;
    for (std::string line; std::getline(lines, line);) {
      const size_t time = line.find("\"step_time_s\"");
      const size_t validation = line.find("\"validation_loss\"");
      values.push_back(line.substr(0, time) +
                       (validation == std::string::npos ? "" : line.substr(validation)));
    }
    return values;
  }

  std::string events(const std::string& name) {
    return read_file(posix_files(), run_dir(name) + "/events.jsonl").value();
  }

  std::string state(const std::string& name, int64_t step = kSteps) {
    const auto handle =
        open_checkpoint(posix_files(), run_dir(name) + "/checkpoints/" + checkpoint_name(step))
            .value();
    return state_digest(posix_files(), handle).value().to_hex();
  }

  void corrupt(const std::string& path, size_t at) {
    std::string content = read_file(posix_files(), path).value();
    content.at(at) = static_cast<char>(content[at] ^ 1);
    throw_if_error(publish_file(posix_files(), path, content, "corrupt"));
  }

  TemporaryDirectory directory_;
  std::string train_;
  std::string validation_;
};

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

}  // namespace
}  // namespace leasehold
