// A program on a processor that is too old for it ends before MPI begins, and says whose fault that
// is all the same.
#include <gtest/gtest.h>

#include "launch/launchers/last_words.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

TEST(ProcessorFloor, ARankNamesItself) {
  const TemporaryDirectory directory;
  for (const std::string rank : {"OMPI_COMM_WORLD_RANK=3", "PMIX_RANK=3", "PMI_RANK=3", "NONE=3"}) {
    const Finished ended = run_program({LEASEHOLD_FLOOR_OF_FMA4}, directory.path(), 20, {rank});
    if (ended.exit_code == 0) GTEST_SKIP() << "this processor is a Bulldozer";
    EXPECT_EQ(ended.exit_code, 78);
    EXPECT_TRUE(ended.errors.starts_with("floor_of_fma4: this program is built for fma4"))
        << ended.errors;
    const size_t second = ended.errors.find('\n') + 1;
    const auto words = parse_last_words(ended.errors.substr(second));
    EXPECT_EQ(words.has_value(), rank != "NONE=3") << ended.errors;
    if (!words) continue;
    EXPECT_EQ(words->exit_code, 78);
    EXPECT_EQ(words->ranks, std::vector<int>{3});
  }
}

}  // namespace
}  // namespace leasehold
