// Runs every fuzzer over its corpus, and over the corpus cut short, in every build, so that a past
// finding stays fixed.
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <iterator>
#include <string>
#include <vector>

// fuzz_targets.inc holds one LEASEHOLD_FUZZ_TARGET(name) for each name_fuzzer.cc. The build renames
// its function to fuzz_name.
#define LEASEHOLD_FUZZ_TARGET(name) extern "C" int fuzz_##name(const uint8_t* data, size_t size);
#include <fuzz_targets.inc>
#undef LEASEHOLD_FUZZ_TARGET

namespace leasehold {
namespace {

struct Target {
  const char* name;
  int (*run)(const uint8_t*, size_t);
};

const Target kTargets[] = {
#define LEASEHOLD_FUZZ_TARGET(name) {#name, fuzz_##name},
#include <fuzz_targets.inc>
#undef LEASEHOLD_FUZZ_TARGET
};

class Corpus : public ::testing::TestWithParam<Target> {};

TEST_P(Corpus, IsSurvived) {
  const std::filesystem::path folder = std::filesystem::path(LEASEHOLD_CORPUS) / GetParam().name;
  ASSERT_TRUE(std::filesystem::is_directory(folder)) << folder << " is missing";
  int num_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().string());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(GetParam().run(bytes.data(), bytes.size()), 0);
    const size_t stride = bytes.size() / 64 + 1;
    for (size_t size = 0; size < bytes.size(); size += stride) {
      // A copy of exactly that size, so that a sanitizer detects a read after its end.
      const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<long>(size));
      EXPECT_EQ(GetParam().run(cut.data(), cut.size()), 0);
    }
    ++num_files;
  }
  EXPECT_GE(num_files, 3) << folder;
}

INSTANTIATE_TEST_SUITE_P(Fuzzers, Corpus, ::testing::ValuesIn(kTargets),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace leasehold
