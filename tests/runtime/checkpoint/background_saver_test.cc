// Saves in the background: one that was late costs that save and no later one, and a rank that
// leaves does not wait for a file.
#include "runtime/checkpoint/background_saver.h"

#include <barrier>
#include <gtest/gtest.h>

#include "collectives/threads.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/faulty_files.h"
#include "tests/support/held_files.h"

namespace leasehold {
namespace {

struct SavingRanks {
  explicit SavingRanks(int size) : state(random_state(sample_shapes(), 1)) {
    std::mt19937_64 random(3);
    ranks = random_layout(sample_shapes(), size, random);
    for (RankSlices& rank : ranks) copy_in(state, rank);
  }

  SampleState state;
  std::vector<RankSlices> ranks;
  FaultyFiles disk;
  HeldFiles files{disk};
};

void wait_until_ended(const BackgroundSaver& saver) {
  for (int i = 0; i < 10000 && saver.under_way(); ++i) system_clock().sleep_s(0.001);
  ASSERT_FALSE(saver.under_way());
}

const FileWork::Part kNothingToTidy = [](FileSystem&) { return ok_status(); };

TEST(BackgroundSaver, ALateSaveCostsThatSaveOnly) {
  SavingRanks saving(2);
  constexpr double kTimeoutS = 0.7;
  std::barrier step_boundary(2);
  run_ranks(2, {.timeout_s = kTimeoutS}, [&](Communicator& world) {
    const auto& slices = saving.ranks[static_cast<size_t>(world.rank())].slices;
    FileWork work(saving.files, {.timeout_s = kTimeoutS, .node = "", .counter = nullptr});
    const auto saver = BackgroundSaver::create(work, "run", world, kNothingToTidy).value();
    // Rank 1 comes too late for the first collective of the save.
    if (world.rank() == 1) system_clock().sleep_s(2 * kTimeoutS);
    saver->begin(sample_info(1), slices);
    wait_until_ended(*saver);
    EXPECT_EQ(saver->newest().status.code(), Code::kUnavailable);
    EXPECT_EQ(saver->saved_step(), -1);
    EXPECT_FALSE(saver->is_connected());
    EXPECT_TRUE(saver->is_free());

    step_boundary.arrive_and_wait();
    ASSERT_TRUE(saver->renew(world).ok());
    EXPECT_TRUE(saver->is_connected());
    saver->begin(sample_info(2), slices);
    wait_until_ended(*saver);
    EXPECT_TRUE(saver->newest().status.ok()) << saver->newest().status.message();
    EXPECT_EQ(saver->saved_step(), 2);
  });
  EXPECT_EQ(load_newest_good(saving.disk, "run")->state, saving.state);
}

TEST(BackgroundSaver, LeavingDoesNotWaitForAFileThatHangs) {
  SavingRanks saving(2);
  saving.files.hold("shard-00001");
  const double begin_s = system_clock().steady_s();
  run_ranks(2, {}, [&](Communicator& world) {
    FileWork work(saving.files, {});
    const auto saver = BackgroundSaver::create(work, "run", world, kNothingToTidy).value();
    saver->begin(sample_info(1), saving.ranks[static_cast<size_t>(world.rank())].slices);
    EXPECT_TRUE(saving.files.wait_held(1));
  });
  EXPECT_LT(system_clock().steady_s() - begin_s, 10);
  saving.files.release();
  for (int i = 0; i < 2000 && saving.files.num_held() > 0; ++i) system_clock().sleep_s(0.001);
  system_clock().sleep_s(0.05);  // until the thread that was left behind has gone
}

}  // namespace
}  // namespace leasehold
