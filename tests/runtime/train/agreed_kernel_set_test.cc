// One kernel set for all ranks, whatever their processors, libraries, job files and checkpoints
// say.
#include "runtime/train/agreed_kernel_set.h"

#include <gtest/gtest.h>
#include <mutex>

#include "collectives/threads.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {
namespace {

const std::vector<std::string> kAvx512Sets = {"SkylakeX", "Haswell", "Nehalem", "Zen"};
const std::vector<std::string> kAvx2Sets = {"Haswell", "Nehalem", "Zen"};

KernelSetOffer offer(const std::string& node, const std::vector<std::string>& sets) {
  return {.node = node, .processor = "a part", .sets = sets};
}

void expect_refused(const Status& status, const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), Code::kBadConfig);
  for (const std::string& part : parts)
    EXPECT_NE(status.message().find(part), std::string::npos) << part << ": " << status.message();
}

TEST(KernelSetChoice, AutoTakesTheBestThatAllRun) {
  const KernelSetOffer strong = offer("a", kAvx512Sets), weak = offer("b", kAvx2Sets);
  EXPECT_EQ(choose_kernel_set(std::vector{strong, strong}, false)->kernel_set, "SkylakeX");
  EXPECT_EQ(choose_kernel_set(std::vector{strong, weak}, false)->kernel_set, "Haswell");
  EXPECT_EQ(choose_kernel_set(std::vector{weak, strong}, false)->kernel_set, "Haswell");
  // No known sets: the library's choice, on all of them or not at all.
  const KernelSetOffer other = offer("c", {});
  EXPECT_EQ(choose_kernel_set(std::vector{other, other}, false)->kernel_set, "");
  expect_refused(choose_kernel_set(std::vector{strong, other}, false).status(),
                 {"rank 0 on node a", "rank 1 on node c: none"});
}

TEST(KernelSetChoice, ANamedSetIsTakenOrRefusedWithWhoCannot) {
  KernelSetOffer strong = offer("a", kAvx512Sets), weak = offer("b", kAvx2Sets);
  strong.asked = weak.asked = "Nehalem";
  EXPECT_EQ(choose_kernel_set(std::vector{strong, weak}, false)->kernel_set, "Nehalem");
  strong.asked = weak.asked = "SkylakeX";
  EXPECT_EQ(choose_kernel_set(std::vector{strong, strong}, false)->kernel_set, "SkylakeX");
  for (const bool may_change : {false, true}) {
    expect_refused(choose_kernel_set(std::vector{strong, weak}, may_change).status(),
                   {"device.cpu_kernels = \"SkylakeX\"", "rank 1 on node b (a part)", "\"auto\""});
  }
  weak.lacking = {"SkylakeX"};
  expect_refused(choose_kernel_set(std::vector{strong, weak}, false).status(),
                 {"rank 1 on node b has a build of OpenBLAS without it"});
  KernelSetOffer other = offer("c", {});
  other.asked = "Haswell";
  expect_refused(choose_kernel_set(std::vector{other}, false).status(), {"write \"auto\""});
}

TEST(KernelSetChoice, RanksWithDifferentJobFilesAreRefused) {
  KernelSetOffer first = offer("a", kAvx2Sets), second = offer("b", kAvx2Sets);
  second.asked = "Haswell";
  expect_refused(choose_kernel_set(std::vector{first, second}, true).status(),
                 {"\"Haswell\" for rank 1 on node b", "\"auto\" for rank 0 on node a"});
}

TEST(KernelSetChoice, ARunKeepsItsSetOrSaysWhoCannot) {
  KernelSetOffer strong = offer("a", kAvx512Sets), weak = offer("b", kAvx2Sets);
  strong.recorded = {10, "Haswell", "run/step-10"};
  EXPECT_EQ(choose_kernel_set(std::vector{strong, strong}, false)->kernel_set, "Haswell");
  weak.recorded = {12, "SkylakeX", "/dev/shm/x.json"};  // the newest counts, whoever saw it
  const std::vector mixed = {strong, weak};
  expect_refused(choose_kernel_set(mixed, false).status(),
                 {"SkylakeX (/dev/shm/x.json)", "rank 1 on node b", "run.identity", "--fork"});
  const auto changed = choose_kernel_set(mixed, true);
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(changed->kernel_set, "Haswell");
  EXPECT_NE(changed->reason.find("not SkylakeX"), std::string::npos) << changed->reason;
  // A record of an older program says nothing.
  weak.recorded = {12, "", "run/step-12"};
  EXPECT_EQ(choose_kernel_set(std::vector{strong, weak}, false)->kernel_set, "Haswell");
  // A set that an older table named and this one does not.
  weak.recorded = {12, "Excavator", "run/step-12"};
  expect_refused(choose_kernel_set(std::vector{strong, weak}, false).status(), {"Excavator"});
}

TEST(KernelSetChoice, ProcessorsOfTwoArchitecturesShareNoSet) {
  const std::vector<std::string> arm_sets = {"neoversev2", "neoversen1", "armv8"};
  KernelSetOffer x86 = offer("a", kAvx512Sets), arm = offer("grace", arm_sets);
  arm.processor = "Neoverse V2";
  expect_refused(choose_kernel_set(std::vector{x86, arm}, true).status(),
                 {"rank 0 on node a: SkylakeX", "rank 1 on node grace: neoversev2"});
  // A run that moves takes a set of its new processor, and only where other bits are allowed.
  arm.recorded = {12, "SkylakeX", "run/step-12"};
  expect_refused(choose_kernel_set(std::vector{arm}, false).status(),
                 {"SkylakeX", "grace (Neoverse V2) does not run it", "run.identity"});
  EXPECT_EQ(choose_kernel_set(std::vector{arm}, true)->kernel_set, "neoversev2");
}

TEST(KernelSetChoice, AVariableOfOneRankBindsAll) {
  KernelSetOffer free = offer("a", kAvx512Sets), pinned = offer("b", {"Nehalem"});
  pinned.pinned = true;
  EXPECT_EQ(choose_kernel_set(std::vector{free, pinned}, false)->kernel_set, "Nehalem");
  KernelSetOffer other = offer("c", {"Haswell"});
  other.pinned = true;
  expect_refused(choose_kernel_set(std::vector{pinned, other}, false).status(),
                 {"rank 0 on node b: Nehalem", "rank 1 on node c: Haswell", "OPENBLAS_CORETYPE"});
  free.asked = pinned.asked = "Haswell";
  expect_refused(choose_kernel_set(std::vector{free, pinned}, false).status(),
                 {"bound to Nehalem by OPENBLAS_CORETYPE", "unset OPENBLAS_CORETYPE"});
  pinned.asked = "auto";
  pinned.recorded = {3, "Haswell", "run/step-3"};
  expect_refused(choose_kernel_set(std::vector{pinned}, false).status(),
                 {"Haswell (run/step-3)", "bound to Nehalem"});
}

// Ranks as threads, each with a library of its own.
struct World {
  std::vector<KernelSetOffer> offers;
  std::vector<std::vector<std::string>> libraries;  // the sets in each rank's
  std::mutex mutex;
  std::vector<Result<ChosenKernelSet>> chosen;
  std::vector<std::string> opened;

  void run() {
    chosen.assign(offers.size(), error(Code::kInternal, "did not run"));
    opened.assign(offers.size(), "");
    run_ranks(static_cast<int>(offers.size()), {}, [this](Communicator& world) {
      const auto device = CpuDevice::create({});
      const auto stream = device->create_stream("test").value();
      const auto rank = static_cast<size_t>(world.rank());
      const auto open = [&](const std::string& set) -> Result<std::string> {
        const auto& library = libraries[rank];
        if (library.empty()) return error(Code::kBadConfig, "no library");
        const bool has = std::ranges::find(library, set) != library.end();
        opened[rank] = has ? set : library.back();
        return opened[rank];
      };
      const auto mine = agree_on_kernel_set(offers[rank], false, open, world, *stream, 20);
      const std::lock_guard lock(mutex);
      chosen[rank] = mine;
    });
  }
};

TEST(AgreedKernelSet, IsOpenedOnEveryRankBeforeAnythingIsComputed) {
  World world{.offers = {offer("a", kAvx512Sets), offer("b", kAvx2Sets), offer("b", kAvx512Sets)},
              .libraries = {3, {"SkylakeX", "Haswell", "Prescott"}}};
  world.run();
  for (size_t rank = 0; rank < 3; ++rank) {
    ASSERT_TRUE(world.chosen[rank].ok()) << world.chosen[rank].status().message();
    EXPECT_EQ(world.chosen[rank]->kernel_set, "Haswell");
    EXPECT_EQ(world.opened[rank], "Haswell");
  }
}

TEST(AgreedKernelSet, ALibraryThatLacksItTakesAllToTheNext) {
  World world{.offers = {offer("a", kAvx512Sets), offer("b", kAvx512Sets)},
              .libraries = {{"SkylakeX", "Haswell", "Prescott"}, {"Haswell", "Prescott"}}};
  world.run();
  for (size_t rank = 0; rank < 2; ++rank) {
    ASSERT_TRUE(world.chosen[rank].ok()) << world.chosen[rank].status().message();
    EXPECT_EQ(world.chosen[rank]->kernel_set, "Haswell");
    EXPECT_EQ(world.opened[rank], "Haswell");
  }
  for (KernelSetOffer& one : world.offers) one.asked = "SkylakeX";
  world.run();
  for (size_t rank = 0; rank < 2; ++rank) {
    expect_refused(world.chosen[rank].status(),
                   {"device.cpu_kernels = \"SkylakeX\"", "rank 1 on node b", "without it"});
  }
}

TEST(AgreedKernelSet, RanksThatAreAskedForDifferentSetsAllRefuse) {
  World world{.offers = {offer("a", kAvx2Sets), offer("b", kAvx2Sets)},
              .libraries = {2, {"Haswell", "Nehalem"}}};
  world.offers[0].asked = "Haswell";
  world.offers[1].asked = "Nehalem";
  world.run();
  for (size_t rank = 0; rank < 2; ++rank) {
    expect_refused(world.chosen[rank].status(),
                   {"\"Nehalem\" for rank 1", "\"Haswell\" for rank 0"});
    EXPECT_EQ(world.opened[rank], "");
  }
}

TEST(AgreedKernelSet, ARankWithoutALibraryStopsAll) {
  World world{.offers = {offer("a", kAvx2Sets), offer("b", kAvx2Sets)},
              .libraries = {{"Haswell"}, {}}};
  world.run();
  for (size_t rank = 0; rank < 2; ++rank)
    expect_refused(world.chosen[rank].status(), {"no library"});
}

TEST(AgreedKernelSet, WhereTheLibraryChoosesItsChoiceIsTold) {
  World world{.offers = {offer("a", {}), offer("b", {})}, .libraries = {2, {"neoversev1"}}};
  world.run();
  for (size_t rank = 0; rank < 2; ++rank) EXPECT_EQ(world.chosen[rank]->kernel_set, "neoversev1");
}

TEST(KernelSetOfAState, AnotherIsRefusedByName) {
  EXPECT_TRUE(check_kernel_set("Haswell", "Haswell").ok());
  EXPECT_TRUE(check_kernel_set("", "Haswell").ok());
  EXPECT_TRUE(check_kernel_set("Haswell", "").ok());
  expect_refused(check_kernel_set("Haswell", "Nehalem"),
                 {"Haswell", "Nehalem", "device.cpu_kernels = \"Haswell\"", "report", "--fork"});
}

}  // namespace
}  // namespace leasehold
