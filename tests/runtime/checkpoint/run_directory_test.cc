#include "runtime/checkpoint/run_directory.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/faulty_files.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr double kNowS = 1.7e9;

struct Fixture {
  FaultyFiles files;
  ManualClock clock{kNowS};

  std::unique_ptr<RunDirectory> claim(const std::string& owner = "host a, pid 1") {
    auto run = RunDirectory::claim(files, "run", {.owner = owner}, clock);
    EXPECT_TRUE(run.ok()) << run.status().message();
    return run.ok() ? std::move(run).value() : nullptr;
  }
};

std::string line(int64_t step, const std::string& loss = "3.25", const std::string& more = "") {
  return fmt::format("{{\"step\": {}, \"loss\": {}, \"grad_norm\": 1.5{}}}", step, loss, more);
}

TEST(RunDirectory, GenerationsCountUp) {
  Fixture fixture;
  for (int64_t generation = 1; generation <= 12; ++generation) {
    const auto run = fixture.claim();
    EXPECT_EQ(run->generation(), generation);
    EXPECT_EQ(newest_claim(fixture.files, "run").value(), generation);
  }
  EXPECT_EQ(fixture.files.content("run/generations/12/claim"), "host a, pid 1\n");
  EXPECT_EQ(newest_claim(fixture.files, "elsewhere").value(), 0);
}

TEST(RunDirectory, ASecondOwnerIsRefusedNamingTheFirst) {
  Fixture fixture;
  const auto first = fixture.claim("host a, pid 1, since noon");
  const auto second = RunDirectory::claim(fixture.files, "run", {.owner = "host b"}, fixture.clock);
  EXPECT_EQ(second.status().code(), Code::kBadConfig);
  EXPECT_NE(second.status().message().find("host a, pid 1, since noon"), std::string::npos)
      << second.status().message();
  EXPECT_EQ(newest_claim(fixture.files, "run").value(), 1);
}

TEST(RunDirectory, TheRealLockRefusesToo) {
  const TemporaryDirectory directory;
  const std::string owner = describe_owner(system_clock());
  EXPECT_NE(owner.find(fmt::format("pid {}", ::getpid())), std::string::npos) << owner;
  auto first =
      RunDirectory::claim(posix_files(), directory / "run", {.owner = owner}, system_clock());
  ASSERT_TRUE(first.ok()) << first.status().message();
  const auto second =
      RunDirectory::claim(posix_files(), directory / "run", {.owner = "another"}, system_clock());
  EXPECT_EQ(second.status().code(), Code::kBadConfig);
  EXPECT_NE(second.status().message().find(owner), std::string::npos) << second.status().message();
  first.value().reset();
  const auto third =
      RunDirectory::claim(posix_files(), directory / "run", {.owner = "another"}, system_clock());
  ASSERT_TRUE(third.ok()) << third.status().message();
  EXPECT_EQ(third.value()->generation(), 2);
}

TEST(RunDirectory, AnUnwritableDirectoryIsAStorageErrorWithAWayOut) {
  const TemporaryDirectory directory;
  ASSERT_TRUE(posix_files().append_line(directory / "file", "in the way").ok());
  for (const std::string& path :
       {directory / "file", directory / "file/run", std::string("/proc/run")}) {
    const auto run = RunDirectory::claim(posix_files(), path, {.owner = "me"}, system_clock());
    EXPECT_EQ(run.status().code(), Code::kStorage) << run.status().message();
    EXPECT_NE(run.status().message().find("run.dir " + path), std::string::npos)
        << run.status().message();
  }
}

TEST(RunDirectory, AFailureAtEveryOperationOfAClaimIsReportedAndHarmless) {
  for (int64_t n = 0;; ++n) {
    Fixture fixture;
    fixture.files.fail_change(n);
    const auto run = RunDirectory::claim(fixture.files, "run", {.owner = "me"}, fixture.clock);
    if (fixture.files.num_changes() <= n) break;
    if (run.ok()) continue;
    EXPECT_EQ(run.status().code(), Code::kStorage) << run.status().message();
    EXPECT_NE(fixture.claim(), nullptr) << "change " << n;
  }
}

TEST(RunDirectory, ClaimRemovesWhatADeadWriterLeft) {
  Fixture fixture;
  fixture.files.set_content("run/checkpoints/.tmp-step-00000050-g0001/shard", "half");
  fixture.files.set_content("run/checkpoints/step-00000040/manifest.json", "there");
  fixture.claim();
  EXPECT_EQ(fixture.files.list("run/checkpoints").value(),
            std::vector<std::string>{"step-00000040"});
}

TEST(RunDirectory, MetricsAreAppendedAndFoundAgain) {
  Fixture fixture;
  {
    const auto run = fixture.claim();
    EXPECT_EQ(run->last_metrics_step(), -1);
    for (int64_t step = 1; step <= 300; ++step)
      ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
    EXPECT_EQ(run->metrics_line(17).value(), line(17));
  }
  const auto run = fixture.claim();
  EXPECT_EQ(run->last_metrics_step(), 300);
  EXPECT_TRUE(run->repairs().empty());
  EXPECT_EQ(run->metrics_line(1).value(), line(1));
  EXPECT_EQ(run->metrics_line(300).value(), line(300));
  EXPECT_EQ(run->metrics_line(301).status().code(), Code::kMissingInput);
  ASSERT_TRUE(run->publish_metrics(301, line(301)).ok());
  EXPECT_EQ(run->metrics_line(301).value(), line(301));
}

TEST(RunDirectory, AReplayedStepIsComparedAndNotWritten) {
  Fixture fixture;
  const auto run = fixture.claim();
  for (int64_t step = 1; step <= 3; ++step) {
    ASSERT_TRUE(
        run->publish_metrics(step, line(step, "3.2500000000000004", ", \"validation_loss\": 2.5"))
            .ok());
  }
  const std::string before = fixture.files.content("run/metrics.jsonl");
  EXPECT_TRUE(run->publish_metrics(2, line(2, "3.2500000000000004", ", \"lr\": 7")).ok());
  EXPECT_TRUE(
      run->publish_metrics(3, line(3, "3.2500000000000004", ", \"validation_loss\": 2.5")).ok());
  EXPECT_FALSE(fixture.files.exists("run/events.jsonl"));
  for (const std::string& other : {line(2, "3.2500000000000009"), line(2, "null"),
                                   line(2, "3.2500000000000004", ", \"validation_loss\": 2.6")}) {
    const Status status = run->publish_metrics(2, other);
    EXPECT_EQ(status.code(), Code::kBadData) << other;
    EXPECT_NE(status.message().find("replay_mismatch"), std::string::npos) << status.message();
  }
  EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), before);
  const std::string events = fixture.files.content("run/events.jsonl");
  EXPECT_NE(events.find("\"event\":\"replay_mismatch\""), std::string::npos) << events;
  EXPECT_NE(events.find("loss was 3.2500000000000004 and is 3.250000000000001 now"),
            std::string::npos)
      << events;
}

TEST(RunDirectory, OneBitOfALossIsSeen) {
  Fixture fixture;
  const auto run = fixture.claim();
  double loss = 2.0 / 3.0;
  ASSERT_TRUE(run->publish_metrics(1, line(1, fmt::format("{:.17g}", loss))).ok());
  EXPECT_TRUE(run->publish_metrics(1, line(1, fmt::format("{:.17g}", loss))).ok());
  loss = std::nextafter(loss, 1.0);
  EXPECT_EQ(run->publish_metrics(1, line(1, fmt::format("{:.17g}", loss))).code(), Code::kBadData);
}

// A torn tail of any length is cut; what was whole stays.
TEST(RunDirectory, ATornTailIsCut) {
  const std::string whole = line(1) + "\n" + line(2) + "\n";
  const std::string torn = line(3);
  for (size_t length = 0; length <= torn.size(); ++length) {
    Fixture fixture;
    fixture.files.set_content("run/metrics.jsonl", whole + torn.substr(0, length));
    fixture.files.set_content("run/events.jsonl", "{\"event\":\"a\"}\n" + torn.substr(0, length));
    const auto run = fixture.claim();
    EXPECT_EQ(run->last_metrics_step(), 2);
    EXPECT_EQ(run->repairs().size(), length == 0 ? 0u : 2u);
    EXPECT_EQ(fixture.files.content("run/events.jsonl"), "{\"event\":\"a\"}\n");
    ASSERT_TRUE(run->publish_metrics(3, line(3)).ok());
    EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), whole + line(3) + "\n");
  }
}

TEST(RunDirectory, ALastLineThatIsNoJsonIsCut) {
  for (const std::string& bad : {std::string("{\"step\": 2, \"loss\": }"), std::string(20, '\0'),
                                 std::string("x"), std::string("{\"step\": 2, \"lo\n\n{}")}) {
    Fixture fixture;
    fixture.files.set_content("run/metrics.jsonl", line(1) + "\n" + bad + "\n");
    const auto run = fixture.claim();
    EXPECT_EQ(run->last_metrics_step(), 1) << bad;
    EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), line(1) + "\n") << bad;
  }
}

TEST(RunDirectory, DamageInTheMiddleIsNotCutAwayInSilence) {
  for (const std::string& content :
       {line(1) + "\nx\n" + line(3) + "\n", line(2) + "\n" + line(1) + "\n",
        line(1) + "\n" + line(1) + "\n", "x\n" + line(1) + "\n",
        line(1) + "\n" + std::string((1 << 20) + 1, 'x')}) {
    Fixture fixture;
    fixture.files.set_content("run/metrics.jsonl", content);
    const auto run = RunDirectory::claim(fixture.files, "run", {.owner = "me"}, fixture.clock);
    EXPECT_EQ(run.status().code(), Code::kBadData);
    EXPECT_NE(run.status().message().find("run/metrics.jsonl"), std::string::npos)
        << run.status().message();
    EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), content);
  }
}

// Lines that cross the blocks in which the file is read.
TEST(RunDirectory, IndexesAFileOfManyBlocks) {
  Fixture fixture;
  std::string content;
  const std::string filler = fmt::format(", \"note\": \"{}\"", std::string(1000, 'x'));
  for (int64_t step = 1; step <= 10000; ++step) content += line(step, "3.25", filler) + "\n";
  fixture.files.set_content("run/metrics.jsonl", content);
  const auto run = fixture.claim();
  EXPECT_EQ(run->last_metrics_step(), 10000);
  for (const int64_t step : {1, 3900, 4096, 8191, 10000}) {
    EXPECT_EQ(run->metrics_line(step).value(), line(step, "3.25", filler));
  }
}

std::string lines(int64_t first, int64_t last) {
  std::string text;
  for (int64_t step = first; step <= last; ++step) text += line(step) + "\n";
  return text;
}

TEST(RunDirectory, LinesWaitForAFullDiskAndComeInOrder) {
  for (int64_t room = 0; room <= std::ssize(line(1)) + 2; ++room) {
    Fixture fixture;
    const auto run = fixture.claim();
    ASSERT_TRUE(run->publish_metrics(1, line(1)).ok());
    ASSERT_TRUE(run->append_event("a", "before").ok());
    fixture.files.set_capacity(fixture.files.used_bytes() + room);
    for (int64_t step = 2; step <= 5; ++step)
      ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
    EXPECT_EQ(run->last_metrics_step(), 5);
    EXPECT_EQ(run->metrics_line(4).value(), line(4));
    ASSERT_TRUE(run->publish_metrics(4, line(4)).ok()) << "a replay is compared with what waits";
    EXPECT_EQ(run->publish_metrics(4, line(4, "3")).code(), Code::kBadData);
    const auto notices = run->take_notices();
    ASSERT_EQ(notices.size(), 1u);
    EXPECT_EQ(notices[0].name, "log_waits");
    EXPECT_NE(notices[0].reason.find("No space left"), std::string::npos) << notices[0].reason;
    ASSERT_TRUE(run->append_event("b", "while it waits").ok());
    EXPECT_NE(run->sync_metrics().code(), Code::kOk);

    fixture.files.remove_capacity_limit();
    ASSERT_TRUE(run->publish_metrics(6, line(6)).ok());
    EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), lines(1, 6)) << room;
    EXPECT_NE(fixture.files.content("run/events.jsonl").find("while it waits"), std::string::npos);
    ASSERT_TRUE(run->append_event("c", "after").ok());
    const auto over = run->take_notices();
    ASSERT_EQ(over.size(), 1u);
    EXPECT_EQ(over[0].name, "log_written");
    const std::string events = fixture.files.content("run/events.jsonl");
    EXPECT_LT(events.find("while it waits"), events.find("after"));
    for (const char* name : {"\"a\"", "\"b\"", "\"c\"", "replay_mismatch"})
      EXPECT_NE(events.find(name), std::string::npos) << name << events;
    EXPECT_EQ(std::ranges::count(events, '\n'), 4);
  }
}

// Every operation of an append fails once.
TEST(RunDirectory, AFailingDiskLeavesNoGapAndNoHalfLine) {
  for (int64_t n = 0;; ++n) {
    Fixture fixture;
    const auto run = fixture.claim();
    ASSERT_TRUE(run->publish_metrics(1, line(1)).ok());
    const int64_t before = fixture.files.num_changes();
    fixture.files.fail_change(before + n);
    for (int64_t step = 2; step <= 4; ++step)
      ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
    if (fixture.files.num_changes() <= before + n) break;
    ASSERT_TRUE(run->sync_metrics().ok());
    EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), lines(1, 4));
    for (int64_t step = 1; step <= 4; ++step)
      EXPECT_EQ(run->metrics_line(step).value(), line(step));
  }
}

TEST(RunDirectory, WhatWaitsIsCarriedByTheCheckpoint) {
  Fixture fixture;
  const auto run = fixture.claim();
  EXPECT_EQ(run->carried_metrics(1, line(1)), line(1));
  ASSERT_TRUE(run->publish_metrics(1, line(1)).ok());
  EXPECT_EQ(run->carried_metrics(1, line(1)), line(1)) << "as a checkpoint always did";
  EXPECT_EQ(run->carried_metrics(2, line(2)) + "\n", lines(1, 2)) << "a power loss may take line 1";
  ASSERT_TRUE(run->sync_metrics().ok());
  EXPECT_EQ(run->carried_metrics(2, line(2)), line(2));
  fixture.files.set_capacity(0);
  ASSERT_TRUE(run->publish_metrics(2, line(2)).ok());
  ASSERT_TRUE(run->publish_metrics(3, line(3)).ok());
  EXPECT_EQ(run->carried_metrics(4, line(4)) + "\n", lines(2, 4));
  ASSERT_TRUE(run->publish_metrics(4, line(4, "1", ", \"validation_loss\": 2")).ok());
  EXPECT_EQ(run->carried_metrics(4, line(4)),
            lines(2, 3) + line(4, "1", ", \"validation_loss\": 2"));
  for (int64_t step = 5; step < 3000; ++step)
    ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
  const std::string carried = run->carried_metrics(2999, line(2999));
  EXPECT_LE(carried.size(), size_t{64} << 10);
  EXPECT_TRUE(carried.ends_with(line(2998) + "\n" + line(2999)));
  EXPECT_TRUE(carried.starts_with("{\"step\": "));
}

// The power takes what was written and not synced, so that is carried, too.
TEST(RunDirectory, WhatIsNotDurableIsCarriedByTheCheckpoint) {
  Fixture fixture;
  const auto run = fixture.claim();
  for (int64_t step = 1; step <= 3; ++step)
    ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
  EXPECT_EQ(run->carried_metrics(4, line(4)) + "\n", lines(1, 4));
  EXPECT_EQ(run->carried_metrics(3, line(3)) + "\n", lines(1, 3));
  ASSERT_TRUE(run->sync_metrics().ok());
  EXPECT_EQ(run->carried_metrics(4, line(4)), line(4));
  ASSERT_TRUE(run->publish_metrics(4, line(4)).ok());
  fixture.files.set_capacity(fixture.files.used_bytes());
  ASSERT_TRUE(run->publish_metrics(5, line(5)).ok());
  EXPECT_EQ(run->carried_metrics(6, line(6)) + "\n", lines(4, 6)) << "written, waiting, own";
  fixture.files.remove_capacity_limit();
  EXPECT_FALSE(run->must_sync());
  int64_t step = 6;
  for (; !run->must_sync() && step < 3000; ++step)
    ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
  EXPECT_EQ(run->carried_metrics(step, line(step)) + "\n", lines(4, step)) << "none is lost yet";
  while (step < 3000) {
    ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
    ++step;
  }
  const std::string carried = run->carried_metrics(step, line(step));
  EXPECT_LE(std::ssize(carried), MetricsLog::kMaxCarriedBytes + std::ssize(line(step)));
  EXPECT_TRUE(carried.ends_with(lines(2990, 2999) + line(3000)));
}

// A failed sync is told, once, and so is the one that succeeds after it.
TEST(RunDirectory, ALogThatCannotBeMadeDurableIsTold) {
  Fixture fixture;
  const auto run = fixture.claim();
  ASSERT_TRUE(run->publish_metrics(1, line(1)).ok());
  for (int i = 0; i < 2; ++i) {
    fixture.files.fail_change(fixture.files.num_changes());
    EXPECT_EQ(run->sync_metrics().code(), Code::kStorage);
  }
  EXPECT_EQ(run->carried_metrics(2, line(2)) + "\n", lines(1, 2));
  ASSERT_TRUE(run->sync_metrics().ok());
  const auto notices = run->take_notices();
  ASSERT_EQ(notices.size(), 2U);
  EXPECT_EQ(notices[0].name, "log_not_durable");
  EXPECT_NE(notices[0].reason.find("metrics.jsonl"), std::string::npos) << notices[0].reason;
  EXPECT_EQ(notices[1].name, "log_durable");
}

// The power fails, and with it goes what was not synced.
TEST(RunDirectory, SyncedLinesAreDurable) {
  Fixture fixture;
  {
    const auto run = fixture.claim();
    for (int64_t step = 1; step <= 3; ++step)
      ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
    ASSERT_TRUE(run->sync_metrics().ok());
    ASSERT_TRUE(run->publish_metrics(4, line(4)).ok());
    fixture.files.crash_now();
  }
  fixture.files.restart(FaultyFiles::Loss::kUnsynced);
  EXPECT_EQ(fixture.claim()->last_metrics_step(), 3);
}

// A person moves the log away, or puts something into it, while the run goes on.
TEST(RunDirectory, ALogThatOthersChangeIsContinued) {
  Fixture fixture;
  const auto run = fixture.claim();
  ASSERT_TRUE(run->publish_metrics(1, line(1)).ok());
  fixture.files.set_content("run/metrics.jsonl", "");
  ASSERT_TRUE(run->publish_metrics(2, line(2)).ok());
  EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), lines(2, 2));
  fixture.files.set_content("run/metrics.jsonl", lines(2, 2) + "half a l");
  ASSERT_TRUE(run->publish_metrics(3, line(3)).ok());
  EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), lines(2, 3));
  EXPECT_EQ(run->take_notices().size(), 2u);
}

TEST(RunDirectory, ALateLineOfAnOlderGenerationIsPassedOver) {
  Fixture fixture;
  const auto of = [](int64_t step, int generation) {
    return line(step, "3.25", fmt::format(", \"generation\": {}", generation)) + "\n";
  };
  const std::string content = of(1, 1) + of(2, 2) + of(3, 2) + of(2, 1) + of(4, 2);
  fixture.files.set_content("run/metrics.jsonl", content);
  const auto run = fixture.claim();
  EXPECT_EQ(run->last_metrics_step(), 4);
  EXPECT_EQ(run->metrics_line(3).value() + "\n", of(3, 2));
  EXPECT_EQ(run->repairs().size(), 1u);
  EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), content);
}

TEST(RunDirectory, AReplayThatMayDifferIsToldOnce) {
  Fixture fixture;
  auto run = RunDirectory::claim(fixture.files, "run",
                                 {.owner = "me", .replays_repeat_bits = false}, fixture.clock)
                 .value();
  for (int64_t step = 1; step <= 3; ++step)
    ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
  EXPECT_TRUE(run->publish_metrics(1, line(1)).ok());
  EXPECT_TRUE(run->take_notices().empty());
  for (int64_t step = 2; step <= 3; ++step)
    EXPECT_TRUE(run->publish_metrics(step, line(step, "3.5")).ok());
  const auto notices = run->take_notices();
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0].name, "replay_differs");
  EXPECT_NE(notices[0].reason.find("step 2"), std::string::npos) << notices[0].reason;
  EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), lines(1, 3));
}

TEST(RunDirectory, TheNewestGenerationNamesTheLineage) {
  Fixture fixture;
  EXPECT_EQ(read_lineage(fixture.files, "run").value(), "");
  fixture.files.set_content("run/lineage", "by an older program\n");
  EXPECT_EQ(read_lineage(fixture.files, "run").value(), "by an older program");
  const auto old = fixture.claim();
  ASSERT_TRUE(old->set_lineage("first").ok());
  EXPECT_EQ(old->lineage().value(), "first");
  fixture.files.set_content("run/generations/2/lineage", "second\n");
  EXPECT_EQ(old->lineage().value(), "second");
}

TEST(RunDirectory, AnOlderGenerationWritesNothing) {
  Fixture fixture;
  const auto run = fixture.claim();
  ASSERT_TRUE(run->publish_metrics(1, line(1)).ok());
  fixture.files.set_content("run/generations/2/claim", "host b");
  EXPECT_EQ(run->publish_metrics(2, line(2)).code(), Code::kUnavailable);
  EXPECT_EQ(run->append_event("a", "b").code(), Code::kUnavailable);
  EXPECT_EQ(run->fork_metrics(0, "old").code(), Code::kUnavailable);
  EXPECT_EQ(fixture.files.content("run/metrics.jsonl"), line(1) + "\n");
}

TEST(RunDirectory, AForkCutsTheOtherLineagesFuture) {
  Fixture fixture;
  const auto run = fixture.claim();
  for (int64_t step = 1; step <= 5; ++step)
    ASSERT_TRUE(run->publish_metrics(step, line(step)).ok());
  const std::string all = fixture.files.content("run/metrics.jsonl");
  ASSERT_TRUE(run->fork_metrics(3, "abc").ok());
  EXPECT_EQ(fixture.files.content("run/metrics-abc.jsonl"), all);
  EXPECT_EQ(run->last_metrics_step(), 3);
  ASSERT_TRUE(run->publish_metrics(4, line(4, "9.5")).ok());
  EXPECT_EQ(fixture.files.content("run/metrics.jsonl"),
            line(1) + "\n" + line(2) + "\n" + line(3) + "\n" + line(4, "9.5") + "\n");
  ASSERT_TRUE(run->fork_metrics(4, "def").ok());
  EXPECT_FALSE(fixture.files.exists("run/metrics-def.jsonl"));
}

TEST(RunDirectory, EventsSayWhenWhoAndWhy) {
  Fixture fixture;
  const auto run = fixture.claim();
  ASSERT_TRUE(run->append_event("drained", "signal \"10\"\n", {{"step", "7"}}).ok());
  EXPECT_EQ(fixture.files.content("run/events.jsonl"),
            fmt::format("{{\"time\":\"{}\",\"generation\":1,\"event\":\"drained\",\"reason\":"
                        "\"signal \\\"10\\\"\\n\","
                        "\"step\":\"7\"}}\n",
                        format_utc(kNowS)));
}

}  // namespace
}  // namespace leasehold
