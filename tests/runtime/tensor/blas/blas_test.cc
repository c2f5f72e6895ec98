// The library that was asked for is the one that computes.
#include "runtime/tensor/blas/blas.h"

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <string_view>
#include <thread>
#include <unistd.h>
#include <vector>

#include "runtime/tensor/blas/processor.h"

namespace leasehold::blas {
namespace {

// A (96, 700) (700, 80) product of fixed numbers: more than one block of every set's depth.
std::vector<float> product() {
  constexpr int kM = 96, kN = 80, kK = 700;
  std::vector<float> a(kM * kK), b(kK * kN), c(kM * kN);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 7919 % 1009) / 1009 - 0.5F;
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 6007 % 997) / 997 - 0.5F;
  library().sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, kM, kN, kK, 1, a.data(), kK, b.data(),
                  kN, 0, c.data(), kN);
  return c;
}

class BlasTest : public testing::Test {
 protected:
  BlasTest() {
    if (const char* value = std::getenv("OPENBLAS_CORETYPE")) before_ = value;
    ::unsetenv("OPENBLAS_CORETYPE");
  }
  // The other tests of this program get what they would have got.
  ~BlasTest() override {
    if (!before_.empty()) ::setenv("OPENBLAS_CORETYPE", before_.c_str(), 1);
    const auto offered = offered_kernel_sets();
    if (!offered.ok()) return;
    EXPECT_TRUE(open_library_with_first(offered->sets).ok());
  }
  // Returns the offered sets that this build of the library has, best first.
  static std::vector<std::string> available_sets() {
    std::vector<std::string> available;
    const auto offered = offered_kernel_sets();
    EXPECT_TRUE(offered.ok()) << offered.status().message();
    if (!offered.ok()) return available;
    for (const std::string& set : offered->sets) {
      if (open_library(set).value() == set) available.push_back(set);
    }
    return available;
  }

  std::string before_;
};

// Threads of MPI's read the environment meanwhile.
TEST_F(BlasTest, OpeningMovesNothingInAReservedEnvironment) {
  const auto offered = offered_kernel_sets();
  ASSERT_TRUE(offered.ok()) << offered.status().message();
  const std::string set = offered->sets.empty() ? "" : offered->sets.back();
  close_library();
  reserve_environment();
  char** const environment = environ;
  std::vector<const char*> names;
  for (char** at = environ; *at != nullptr; ++at) names.push_back(*at);
  ASSERT_TRUE(open_library(set).ok());
  EXPECT_EQ(environ, environment);
  if (!set.empty()) {
    size_t moved = 0;
    for (size_t i = 0; i < names.size(); ++i) {
      const bool is_own = std::string_view(names[i]).starts_with("OPENBLAS_");
      if (!is_own && environ[i] != names[i]) ++moved;
    }
    EXPECT_EQ(moved, 0u);
  }
  // An empty variable names no set.
  close_library();
  ASSERT_TRUE(open_library("").ok());
  EXPECT_EQ(offered_kernel_sets()->pinned, false);
  ::unsetenv("OPENBLAS_CORETYPE");
  ::unsetenv("OPENBLAS_NUM_THREADS");
}

TEST_F(BlasTest, ComputesByTheSetThatItWasOpenedWith) {
  const auto offered = offered_kernel_sets();
  ASSERT_TRUE(offered.ok()) << offered.status().message();
  if (offered->sets.empty()) GTEST_SKIP() << "no known sets: the library chooses";
  std::vector<float> best;
  size_t num_opened = 0;
  for (const std::string& set : offered->sets) {
    const auto used = open_library(set);
    ASSERT_TRUE(used.ok()) << used.status().message();
    if (*used != set) continue;  // not in this build of the library
    ++num_opened;
    EXPECT_EQ(library().kernel_set, set);
    const std::vector<float> c = product();
    if (best.empty()) best = c;
    for (size_t i = 0; i < c.size(); ++i) ASSERT_NEAR(c[i], best[i], 1e-4) << set;
    // Sets without fused multiply-adds round more often.
    if (set == "Prescott") {
      EXPECT_NE(std::memcmp(c.data(), best.data(), c.size() * sizeof(float)), 0);
    }
    EXPECT_EQ(product(), c);
  }
  EXPECT_GE(num_opened, 2U);
}

// The two differ in no bit, so a run on AMD's processors may continue on Intel's.
TEST_F(BlasTest, HaswellAndZenComputeTheSameBits) {
  if (open_library("Haswell").value() != "Haswell") GTEST_SKIP() << "no set Haswell here";
  const std::vector<float> haswell = product();
  if (open_library("Zen").value() != "Zen") GTEST_SKIP() << "no set Zen here";
  EXPECT_EQ(product(), haswell);
}

TEST_F(BlasTest, SaysWhenTheLibraryTakesAnotherSet) {
  const auto offered = offered_kernel_sets();
  if (!offered.ok() || offered->sets.empty()) GTEST_SKIP() << "no known sets: the library chooses";
  const auto used = open_library("Nonsense");
  ASSERT_TRUE(used.ok());
  EXPECT_NE(*used, "Nonsense");
  const std::string best = available_sets().at(0);
  EXPECT_EQ(open_library_with_first({"Nonsense", best}).value(), best);
  const Status none = open_library_with_first({"Nonsense"}).status();
  EXPECT_EQ(none.code(), Code::kBadConfig);
  EXPECT_NE(none.message().find("OpenBLAS"), std::string::npos) << none.message();
  EXPECT_NE(none.message().find("Nonsense"), std::string::npos) << none.message();
}

TEST_F(BlasTest, TheVariableOfTheLibraryIsAWishAndStaysAsItWas) {
  const auto free = offered_kernel_sets();
  if (!free.ok() || free->sets.empty()) GTEST_SKIP() << "no known sets: the library chooses";
  EXPECT_FALSE(free->pinned);
  const std::vector<std::string> sets = available_sets();
  ASSERT_GE(sets.size(), 2U);
  const std::string other = sets[1];
  std::string wish = sets[0];
  for (char& c : wish) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  ::setenv("OPENBLAS_CORETYPE", wish.c_str(), 1);
  const auto wished = offered_kernel_sets();
  ASSERT_TRUE(wished.ok()) << wished.status().message();
  EXPECT_TRUE(wished->pinned);
  EXPECT_EQ(wished->sets, std::vector<std::string>{sets[0]});
  EXPECT_EQ(open_library(other).value(), other);
  EXPECT_STREQ(std::getenv("OPENBLAS_CORETYPE"), wish.c_str());
  ::setenv("OPENBLAS_CORETYPE", "Pentium", 1);
  const Status unknown = offered_kernel_sets().status();
  EXPECT_EQ(unknown.code(), Code::kBadConfig);
  for (const char* part : {"Pentium", "OPENBLAS_CORETYPE", "Haswell"})
    EXPECT_NE(unknown.message().find(part), std::string::npos) << unknown.message();
  ::unsetenv("OPENBLAS_CORETYPE");
  EXPECT_EQ(open_library(sets[0]).value(), sets[0]);
  EXPECT_EQ(std::getenv("OPENBLAS_CORETYPE"), nullptr);
  EXPECT_EQ(std::getenv("OPENBLAS_NUM_THREADS"), nullptr);
}

TEST_F(BlasTest, RefusesASetThatTheProcessorDoesNotRun) {
  const Processor processor = this_processor();
  for (const KernelSet& set : kernel_sets()) {
    if (!processor.has_known_sets || missing_features(set, processor.features).empty()) continue;
    ::setenv("OPENBLAS_CORETYPE", std::string(set.name).c_str(), 1);
    const Status refused = offered_kernel_sets().status();
    EXPECT_EQ(refused.code(), Code::kBadConfig) << set.name;
    EXPECT_NE(refused.message().find("lacks"), std::string::npos) << refused.message();
  }
  ::unsetenv("OPENBLAS_CORETYPE");
}

TEST_F(BlasTest, ThreadsThatNeedItAtOnceGetOne) {
  std::vector<const Library*> seen(4);
  std::vector<std::thread> threads;
  for (const Library*& slot : seen) threads.emplace_back([&slot] { slot = &library(); });
  for (std::thread& thread : threads) thread.join();
  for (const Library* slot : seen) EXPECT_EQ(slot, seen.front());
}

}  // namespace
}  // namespace leasehold::blas
