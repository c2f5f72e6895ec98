// Ranks that work on files together: slow ones are waited for, hung ones are given up by all, and
// what was left behind does no harm when it comes back.
#include "runtime/comm/file_work.h"

#include <atomic>
#include <functional>
#include <gtest/gtest.h>
#include <mutex>
#include <thread>

#include "collectives/threads.h"
#include "runtime/device/cpu_device.h"
#include "tests/support/faulty_files.h"
#include "tests/support/held_files.h"

namespace leasehold {
namespace {

constexpr double kStallS = 0.3;

std::string file_of(int rank) { return "disk/rank-" + std::to_string(rank); }

// Writes a few blocks to a file of the rank's own.
FileWork::Part writing(int rank, int num_blocks = 4) {
  return [rank, num_blocks](FileSystem& files) -> Status {
    LEASEHOLD_RETURN_IF_ERROR(files.make_directories("disk"));
    LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.create(file_of(rank)));
    for (int i = 0; i < num_blocks; ++i) LEASEHOLD_RETURN_IF_ERROR(file->append("block", 5));
    LEASEHOLD_RETURN_IF_ERROR(file->sync());
    return file->close();
  };
}

class FileWorkTest : public testing::Test {
 protected:
  // The outcome of each rank; `body` may work several times.
  std::vector<Status> on_ranks(int size,
                               const std::function<Status(FileWork&, Communicator&, Stream&)>& body,
                               double timeout_s = 5) {
    std::vector<Status> outcomes(static_cast<size_t>(size));
    run_ranks(size, {.timeout_s = timeout_s}, [&](Communicator& world) {
      const auto device = CpuDevice::create({});
      const auto stream = device->create_stream("files").value();
      FileWork work(held_, {.timeout_s = timeout_s,
                            .stall_s = kStallS,
                            .node = "node-" + std::to_string(world.rank()),
                            .counter = nullptr});
      outcomes[static_cast<size_t>(world.rank())] = body(work, world, *stream);
    });
    return outcomes;
  }

  FaultyFiles disk_;
  HeldFiles held_{disk_};
};

TEST_F(FileWorkTest, AllPartsAreDoneWhenItReturns) {
  const auto outcomes = on_ranks(3, [&](FileWork& work, Communicator& world, Stream& stream) {
    for (int i = 0; i < 20; ++i) {
      LEASEHOLD_RETURN_IF_ERROR(work.together(world, stream, "work", writing(world.rank())));
      EXPECT_EQ(work.bytes_moved(), 20 * (i + 1));
      for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(disk_.content(file_of(rank)).size(), 20U);
      LEASEHOLD_RETURN_IF_ERROR(work.together(world, stream, "looking", {}));
    }
    return ok_status();
  });
  for (const Status& outcome : outcomes) EXPECT_TRUE(outcome.ok()) << outcome.message();
}

// Longer in all than the deadline of a collective and than the limit of a stall.
TEST_F(FileWorkTest, ASlowRankIsWaitedForWhileItMoves) {
  held_.slow_down(file_of(1), 0.06);
  constexpr double kTimeoutS = 0.25;
  const double begin_s = system_clock().steady_s();
  const auto outcomes = on_ranks(
      2,
      [&](FileWork& work, Communicator& world, Stream& stream) {
        return work.together(world, stream, "work", writing(world.rank(), 12));
      },
      kTimeoutS);
  for (const Status& outcome : outcomes) EXPECT_TRUE(outcome.ok()) << outcome.message();
  EXPECT_GT(system_clock().steady_s() - begin_s, 2 * kStallS);
}

TEST_F(FileWorkTest, WhatOneRankDoesMayTakeLongToo) {
  held_.slow_down("disk", 0.1);
  const auto outcomes = on_ranks(
      3,
      [&](FileWork& work, Communicator& world, Stream& stream) {
        return work.on_rank_0(world, stream, "work", writing(0));
      },
      0.2);
  for (const Status& outcome : outcomes) EXPECT_TRUE(outcome.ok()) << outcome.message();
}

TEST_F(FileWorkTest, AHungRankIsGivenUpByAllAndNamed) {
  ASSERT_TRUE(disk_.make_directories("disk").ok());
  held_.hold(file_of(1));
  std::atomic<int> num_ended{0};
  const auto outcomes = on_ranks(3, [&](FileWork& work, Communicator& world, Stream& stream) {
    Status hung = work.together(world, stream, "the save of step 5", writing(world.rank()));
    EXPECT_EQ(work.idle(), world.rank() != 1);
    // Nothing is begun on top of what hangs.
    const Status busy = work.together(world, stream, "the save of step 6", writing(world.rank()));
    EXPECT_EQ(busy.code(), Code::kStorage);
    EXPECT_NE(busy.message().find("still hangs"), std::string::npos) << busy.message();
    EXPECT_TRUE(world.health().ok());
    if (++num_ended == 3) held_.release();
    // It comes back: the next one is as ever.
    for (int i = 0; i < 2000 && !work.idle(); ++i) system_clock().sleep_s(0.001);
    EXPECT_TRUE(work.idle());
    const Status later = work.together(world, stream, "the save of step 7", writing(world.rank()));
    EXPECT_TRUE(later.ok()) << later.message();
    return hung;
  });
  for (const Status& outcome : outcomes) {
    EXPECT_EQ(outcome.code(), Code::kStorage);
    EXPECT_NE(outcome.message().find("creating disk/rank-1 has not got on"), std::string::npos)
        << outcome.message();
  }
  EXPECT_NE(outcomes[0].message().find("rank 1 (node-1): the save of step 5"), std::string::npos)
      << outcomes[0].message();
}

TEST_F(FileWorkTest, AFailureEndsTheOthersAndIsToldToAll) {
  held_.slow_down(file_of(0), 0.05);
  const double begin_s = system_clock().steady_s();
  const auto outcomes = on_ranks(3, [&](FileWork& work, Communicator& world, Stream& stream) {
    if (world.rank() != 2) {
      return work.together(world, stream, "work", writing(world.rank(), 1000));
    }
    return work.together(world, stream, "work",
                         [](FileSystem&) { return error(Code::kStorage, "No space left"); });
  });
  EXPECT_LT(system_clock().steady_s() - begin_s, 10);
  EXPECT_EQ(outcomes[2].message(), "No space left");
  for (size_t rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(outcomes[rank].code(), Code::kStorage);
    EXPECT_EQ(outcomes[rank].message(), "rank 2 (node-2): No space left");
  }
}

TEST_F(FileWorkTest, AStopEndsItSoon) {
  held_.slow_down("disk", 0.02);
  const auto outcomes = on_ranks(2, [&](FileWork& work, Communicator& world, Stream& stream) {
    std::thread leaver;
    if (world.rank() == 1) {
      leaver = std::thread([&] {
        system_clock().sleep_s(0.1);
        work.stop(error(Code::kUnavailable, "the rank leaves"));
      });
    }
    Status status = work.together(world, stream, "work", writing(world.rank(), 100000));
    if (leaver.joinable()) leaver.join();
    return status;
  });
  EXPECT_EQ(outcomes[0].message(), "rank 1 (node-1): the rank leaves");
  EXPECT_EQ(outcomes[1].message(), "the rank leaves");
}

// A save before the ranks leave has no later one to rely on.
TEST_F(FileWorkTest, WhatWasLeftBehindIsAwaitedAsLongAsAnyPart) {
  ASSERT_TRUE(disk_.make_directories("disk").ok());
  held_.hold(file_of(1));
  std::atomic<int> num_ended{0};
  std::vector<double> waited_s(2);
  const auto outcomes = on_ranks(2, [&](FileWork& work, Communicator& world, Stream& stream) {
    const Status first = work.together(world, stream, "the save of step 5", writing(world.rank()));
    EXPECT_EQ(first.code(), Code::kStorage) << first.message();
    const double begin_s = system_clock().steady_s();
    const Status hung = work.await_left_behind(world, stream, "the last save");
    waited_s[static_cast<size_t>(world.rank())] = system_clock().steady_s() - begin_s;
    EXPECT_EQ(work.idle(), world.rank() != 1);
    std::thread storage;
    if (++num_ended == 2) {
      storage = std::thread([&] {
        system_clock().sleep_s(kStallS / 2);
        held_.release();
      });
    }
    const Status free = work.await_left_behind(world, stream, "the last save");
    EXPECT_TRUE(free.ok()) << free.message();
    EXPECT_TRUE(work.idle());
    const Status last = work.together(world, stream, "the last save", writing(world.rank()));
    EXPECT_TRUE(last.ok()) << last.message();
    EXPECT_TRUE(work.await_left_behind(world, stream, "nothing").ok());
    if (storage.joinable()) storage.join();
    return hung;
  });
  for (size_t rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(outcomes[rank].code(), Code::kStorage);
    EXPECT_GE(waited_s[rank], kStallS);
  }
  EXPECT_NE(outcomes[0].message().find("rank 1 (node-1): the last save: the save of step 5, which "
                                       "was given up before, hangs"),
            std::string::npos)
      << outcomes[0].message();
}

// However long it hangs: what a rank that leaves was at is left behind within a second or two.
TEST_F(FileWorkTest, AStopDoesNotWaitForWhatHangs) {
  ASSERT_TRUE(disk_.make_directories("disk").ok());
  held_.hold(file_of(1));
  const double begin_s = system_clock().steady_s();
  run_ranks(2, {}, [&](Communicator& world) {
    const auto device = CpuDevice::create({});
    const auto stream = device->create_stream("files").value();
    FileWork work(held_, {.timeout_s = 60, .stall_s = 60, .node = "", .counter = nullptr});
    std::thread leaver;
    if (world.rank() == 1) {
      leaver = std::thread([&] {
        EXPECT_TRUE(held_.wait_held(1));
        work.stop(error(Code::kUnavailable, "the rank leaves"));
      });
    }
    const Status status = work.together(world, *stream, "work", writing(world.rank()));
    EXPECT_EQ(status.code(), Code::kUnavailable) << status.message();
    if (leaver.joinable()) leaver.join();
  });
  EXPECT_LT(system_clock().steady_s() - begin_s, 10);
  held_.release();
  for (int i = 0; i < 2000 && held_.num_held() > 0; ++i) system_clock().sleep_s(0.001);
  system_clock().sleep_s(0.05);  // until the thread that was left behind has gone
}

TEST(FileRound, GoesOnWhileSomebodyWorksAndNobodyHangs) {
  EXPECT_EQ(judge({}), FileRoundVerdict::kAllDone);
  EXPECT_EQ(judge({.working = 1}), FileRoundVerdict::kGoOn);
  EXPECT_EQ(judge({.working = 1, .failed = 2}), FileRoundVerdict::kGoOn);
  EXPECT_EQ(judge({.working = 1, .stalled = 3}), FileRoundVerdict::kGiveUp);
  EXPECT_EQ(judge({.failed = 1}), FileRoundVerdict::kAllDone);
}

TEST(StillWatch, CountsFromLooksAndForgetsASleep) {
  StillWatch watch;
  watch.look(0, 100);
  EXPECT_EQ(watch.still_s(), 0);
  watch.look(0, 101);
  watch.look(0, 102);
  EXPECT_EQ(watch.still_s(), 2);
  watch.look(0, 5000);  // the machine slept
  EXPECT_EQ(watch.still_s(), 2 + StillWatch::kLongestLookS);
  watch.look(1, 5001);
  EXPECT_EQ(watch.still_s(), 0);
  watch.look(1, 5001.5);
  EXPECT_EQ(watch.still_s(), 0.5);
}

}  // namespace
}  // namespace leasehold
