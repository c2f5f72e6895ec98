// Tests validate() of launch/job_file.h.
#include <gtest/gtest.h>
#include <set>

#include "launch/job_schema.h"
#include "tests/launch/job_text.h"

namespace leasehold {
namespace {

void expect_refused(const Status& status, std::initializer_list<std::string> parts) {
  EXPECT_EQ(status.code(), Code::kBadConfig) << status.message();
  for (const std::string& part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "'" << part << "' is not in: " << status.message();
  }
}

TEST(Validate, AcceptsEveryNumberOfRanksUpToTheLanes) {
  for (int ranks = 1; ranks <= 8; ++ranks) EXPECT_TRUE(validate(make_job(), ranks).ok()) << ranks;
  EXPECT_TRUE(validate(make_job({"batch.lanes=4"}), 4).ok());
}

TEST(Validate, NeedsAMicrobatchForEachRank) {
  expect_refused(validate(make_job(), 9),
                 {"9 data-parallel ranks", "8 microbatches", "start at most 8",
                  "batch.microbatch = 1", "batch.sequences = 18"});
  expect_refused(validate(make_job(), 17), {"start at most 8, or set batch.sequences = 34"});
}

TEST(Validate, NeedsALaneForEachRank) {
  expect_refused(
      validate(make_job({"batch.lanes=2"}), 3),
      {"3 data-parallel ranks", "batch.lanes = 2", "at most 2", "set batch.lanes = 4 or 8"});
}

TEST(Validate, LanesDivideTheMicrobatches) {
  expect_refused(validate(make_job({"batch.lanes=3"}), 1),
                 {"batch.lanes = 3", "8 microbatches", "may be 1, 2, 4, 8"});
  expect_refused(validate(make_job({"batch.lanes=16"}), 1), {"may be 1, 2, 4, 8"});
}

TEST(Validate, MicrobatchDividesTheSequences) {
  expect_refused(validate(make_job({"batch.microbatch=3"}), 1),
                 {"batch.microbatch = 3", "batch.sequences = 16", "may be 1, 2, 4, 8, 16"});
  expect_refused(validate(make_job({"batch.microbatch=32"}), 1), {"may be 1, 2, 4, 8, 16"});
  expect_refused(validate(make_job({"batch.sequences=1073741824", "batch.microbatch=3"}), 1),
                 {"1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, ..., 1073741824"});
}

TEST(Validate, AStepHasNoMoreMicrobatchesThanAScheduleCanHold) {
  expect_refused(validate(make_job({"batch.sequences=1073741824", "batch.microbatch=2"}), 1),
                 {"536870912 microbatches", "at most 1048576", "raise batch.microbatch"});
  EXPECT_TRUE(validate(make_job({"batch.sequences=1048576", "batch.microbatch=1"}), 1).ok());
}

TEST(Validate, NeedsTheSmallestWorldAsked) {
  expect_refused(validate(make_job({"launch.min_world=4"}), 3),
                 {"3 ranks", "launch.min_world = 4"});
  EXPECT_TRUE(validate(make_job({"launch.min_world=4"}), 4).ok());
}

TEST(Validate, HostsAreReachedInAKnownWay) {
  expect_refused(validate(make_job({"checkpoint.interval=auto"}), 1),
                 {"checkpoint.interval", "checkpoint.snapshot"});
  expect_refused(validate(make_job({"checkpoint.interval=auto", "checkpoint.snapshot=every",
                                    "checkpoint.every_steps=5"}),
                          1),
                 {"checkpoint.interval", "checkpoint.every_steps = 5"});
  expect_refused(validate(make_job({"launch.hosts=rsh"}), 1), {"launch.hosts = \"rsh\"", "ssh"});
  for (const char* hosts : {"local", "ssh", "./agent", "/opt/agent"}) {
    EXPECT_TRUE(validate(make_job({std::string("launch.hosts=") + hosts}), 1).ok()) << hosts;
  }
}

TEST(Validate, RanksAreDealtToTheAxes) {
  const JobFile job = make_job({"parallel.tensor=2", "parallel.pipeline=3", "model.layers=3"});
  EXPECT_TRUE(validate(job, 12).ok());
  expect_refused(validate(job, 4), {"parallel.tensor = 2", "parallel.pipeline = 3"});
  expect_refused(validate(job, 54), {"9 data-parallel ranks"});
}

TEST(Validate, TensorRanksShareHeadsAndRows) {
  EXPECT_TRUE(validate(make_job({"parallel.tensor=2"}), 2).ok());
  expect_refused(validate(make_job({"parallel.tensor=3"}), 3), {"parallel.tensor = 3"});
}

TEST(Validate, StagesShareTheLayersEqually) {
  EXPECT_TRUE(validate(make_job({"parallel.pipeline=2"}), 2).ok());
  EXPECT_TRUE(
      validate(make_job({"parallel.pipeline=2", "parallel.chunks=3", "model.layers=12"}), 4).ok());
  expect_refused(validate(make_job({"parallel.pipeline=3", "model.layers=4"}), 3),
                 {"parallel.pipeline = 3", "model.layers = 4", "1, 2, 4"});
  expect_refused(
      validate(make_job({"parallel.pipeline=2", "parallel.chunks=4", "model.layers=12"}), 2),
      {"parallel.chunks = 4", "model.layers = 12", "1, 2, 3, 4, 6, 12"});
  expect_refused(validate(make_job({"parallel.chunks=2"}), 1),
                 {"parallel.chunks = 2", "parallel.pipeline = 1"});
  expect_refused(validate(make_job({"parallel.chunks=2", "parallel.pipeline=2", "model.layers=4",
                                    "parallel.schedule=gpipe"}),
                          2),
                 {"parallel.chunks = 2", "gpipe", "1f1b"});
}

TEST(Validate, ShardedGradientsNeedALaneForEachMicrobatch) {
  for (const char* stage : {"parallel.zero=2", "parallel.zero=3"}) {
    EXPECT_TRUE(validate(make_job({stage}), 4).ok());
    expect_refused(validate(make_job({stage, "batch.lanes=4"}), 4),
                   {"batch.lanes = 8 instead of 4", "parallel.zero = 1"});
    EXPECT_TRUE(validate(make_job({stage, "batch.lanes=4", "parallel.reduction=fast"}), 4).ok());
  }
}

TEST(Validate, ChecksTheSchedule) {
  expect_refused(validate(make_job({"optimizer.min_lr=0.01"}), 1),
                 {"optimizer.min_lr = 0.01", "optimizer.lr = 0.001"});
  expect_refused(validate(make_job({"optimizer.warmup_steps=101"}), 1),
                 {"optimizer.warmup_steps = 101", "run.steps = 100"});
  EXPECT_TRUE(validate(make_job({"optimizer.warmup_steps=100"}), 1).ok());
}

TEST(Validate, ChecksTheModel) {
  JobFile job = make_job();
  job.model.heads = 5;
  expect_refused(validate(job, 1), {"model.heads = 5"});
}

TEST(Validate, ChecksNames) {
  for (const char* name : {"a/b", ".hidden", "-x", "two words", "\xC3\xA4"}) {
    expect_refused(validate(make_job({std::string("run.name=") + name}), 1), {"run.name"});
  }
  expect_refused(validate(make_job({"run.name=" + std::string(65, 'a')}), 1), {"run.name", "64"});
  EXPECT_TRUE(validate(make_job({"run.name=Gpt2.small_run-3"}), 1).ok());
}

TEST(Validate, RefusesHeadsThatAttentionOnGpusDoesNotTake) {
  const std::vector<std::string> wide = {"model.hidden=1028", "model.heads=4"};  // 257 channels
  EXPECT_TRUE(validate(make_job(wide), 1).ok());
  expect_refused(validate(make_job({wide[0], wide[1], "device.kind=cuda"}), 1),
                 {"257", "256", "model.heads = 5"});
  EXPECT_TRUE(validate(make_job({"model.hidden=1024", wide[1], "device.kind=cuda"}), 1).ok());
}

TEST(Validate, RefusesKeysThatWouldHaveNoEffect) {
  expect_refused(validate(make_job({"run.validate_every_steps=10"}), 1),
                 {"run.validate_every_steps = 10", "data.validation"});
  EXPECT_TRUE(validate(make_job({"run.validate_every_steps=10", "data.validation=v.bin"}), 1).ok());
  expect_refused(validate(make_job({"device.delay_seed=3"}), 1),
                 {"device.delay_seed = 3", "asynchronous"});
  EXPECT_TRUE(validate(make_job({"device.delay_seed=3", "device.mode=asynchronous"}), 1).ok());
  EXPECT_TRUE(validate(make_job({"device.kind=cuda", "device.precision=bf16"}), 1).ok());
  for (const std::string key : {"device.threads=2", "device.mode=asynchronous"}) {
    expect_refused(validate(make_job({"device.kind=cuda", key}), 1),
                   {key.substr(0, key.find('=')), "has no effect", "\"cuda\""});
  }
}

}  // namespace
}  // namespace leasehold
