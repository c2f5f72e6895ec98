#include "launch/prepare_progress.h"

#include <gtest/gtest.h>

#include "launch/duration_text.h"

namespace leasehold {
namespace {

TEST(PrepareProgress, TellsWhatIsDoneHowFastAndHowLongItTakes) {
  EXPECT_EQ(prepare_progress_text(120'500'000, 840'000'000, 6.025),
            "120.5 of 840.0 MB  14%  20.0 MB/s  36 s left");
  EXPECT_EQ(prepare_progress_text(0, 2'000'000, 1),
            "0.0 of 2.0 MB  0%  0.0 MB/s  555 h 33 min left");
}

TEST(PrepareProgress, IsALineEveryFiveSecondsInAFile) {
  ManualClock clock;
  char* text = nullptr;
  size_t size = 0;
  FILE* out = ::open_memstream(&text, &size);
  PrepareProgress progress(clock, out);
  for (int i = 1; i <= 12; ++i) {
    clock.sleep_s(1);
    progress.show(i * 1'000'000, 20'000'000);
  }
  progress.finish();
  ASSERT_EQ(std::fclose(out), 0);
  EXPECT_EQ(
      std::string(text, size),
      "5.0 of 20.0 MB  25%  1.0 MB/s  15 s left\n10.0 of 20.0 MB  50%  1.0 MB/s  10 s left\n");
  std::free(text);
}

TEST(DurationText, RoundsUp) {
  EXPECT_EQ(duration_text(-1), "0 s");
  EXPECT_EQ(duration_text(7.2), "8 s");
  EXPECT_EQ(duration_text(72), "1 min 12 s");
  EXPECT_EQ(duration_text(7500), "2 h 5 min");
}

}  // namespace
}  // namespace leasehold
