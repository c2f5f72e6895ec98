// The kernel set and the name of each AArch64 server processor, from what Linux says of it.
#include "runtime/tensor/blas/arm_features.h"

#include <gtest/gtest.h>
#include <map>
#include <sstream>

namespace leasehold::blas {
namespace {

// The flags of /proc/cpuinfo, written down a second time: the word and its bits.
ArmIdentity identity_of(const std::string& flags, uint64_t midr) {
  static const std::map<std::string, std::pair<int, uint64_t>> kBits = {
      {"asimd", {0, 0x2}},      {"atomics", {0, 0x100}}, {"cpuid", {0, 0x800}},
      {"jscvt", {0, 0x2000}},   {"fcma", {0, 0x4000}},   {"asimddp", {0, 0x100000}},
      {"sve", {0, 0x400000}},   {"sve2", {1, 0x2}},      {"svei8mm", {1, 0x200}},
      {"svebf16", {1, 0x1000}}, {"i8mm", {1, 0x2000}},   {"bf16", {1, 0x4000}},
  };
  ArmIdentity identity{.midr = midr};
  std::istringstream names(flags);
  for (std::string name; names >> name;) {
    const auto [word, bits] = kBits.at(name);
    (word == 0 ? identity.hwcap : identity.hwcap2) |= bits;
  }
  return identity;
}

constexpr const char* kV1 = "asimd atomics cpuid jscvt fcma asimddp sve svei8mm svebf16 i8mm bf16 ";
constexpr const char* kV2 =
    "asimd atomics cpuid jscvt fcma asimddp sve svei8mm svebf16 i8mm bf16 sve2 ";
constexpr const char* kN1 = "asimd atomics cpuid asimddp ";

struct ArmRow {
  const char* processor;
  std::string flags;
  uint64_t midr;
  const char* name;
  const char* set;  // "": none
};

// Flags as /proc/cpuinfo shows them on each; those that decide nothing are left out.
const ArmRow kArmRows[] = {
    {"Grace of GH200, GB200 and GB300; Graviton 4", kV2, 0x410fd4f0, "Neoverse V2", "neoversev2"},
    {"Graviton 3", kV1, 0x411fd401, "Neoverse V1", "neoversev1"},
    {"Cobalt 100, Yitian 710", kV2, 0x410fd490, "Neoverse N2", "neoversev2"},
    {"Graviton 2, Altra", kN1, 0x413fd0c1, "Neoverse N1", "neoversen1"},
    {"AmpereOne, which has no SVE", std::string(kN1) + "fcma jscvt i8mm bf16", 0xc00fac30,
     "AmpereOne", "neoversen1"},
    {"Kunpeng 920", std::string(kN1) + "jscvt fcma", 0x481fd010, "Kunpeng 920", "neoversen1"},
    {"ThunderX2", "asimd atomics cpuid", 0x431f0af1, "ThunderX2", "armv8"},
    {"A64FX", "asimd atomics cpuid fcma sve", 0x461f0010, "A64FX", "armv8sve"},
    {"Raspberry Pi 5", kN1, 0x414fd0b1, "Cortex-A76", "neoversen1"},
    {"Raspberry Pi 4", "asimd cpuid", 0x410fd083, "Cortex-A72", "armv8"},
    {"a part of tomorrow", kV2, 0x410fdff0, "implementer 0x41 part 0xdff", "neoversev2"},
    // A hypervisor or system in between.
    {"Grace, SVE not let through", "asimd atomics cpuid jscvt fcma asimddp i8mm bf16", 0x410fd4f0,
     "Neoverse V2", "neoversen1"},
    {"Grace, SVE2 alone masked", kV1, 0x410fd4f0, "Neoverse V2", "neoversev1"},
    {"a system that does not show the register", kN1, 0, "", "neoversen1"},
    {"no vectors at all", "", 0x410fd083, "Cortex-A72", ""},
};

TEST(ArmFeatures, EveryProcessorHasItsNameAndTheBestSetThatItRuns) {
  for (const ArmRow& row : kArmRows) {
    const ArmIdentity identity = identity_of(row.flags, row.midr);
    EXPECT_EQ(arm_processor_name(identity), row.name) << row.processor;
    const Features features = usable_features(identity);
    const auto sets = runnable_kernel_sets(features);
    EXPECT_EQ(sets.empty() ? "" : sets.front(), row.set) << row.processor;
    for (const std::string& set : sets)
      EXPECT_TRUE(missing_features(*find_kernel_set(set), features).empty()) << row.processor;
  }
}

TEST(ArmFeatures, SetsThatProcessorsShareAreFoundInTheOrderOfTheBest) {
  EXPECT_EQ(runnable_kernel_sets(usable_features(identity_of(kV2, 0))),
            (std::vector<std::string>{"neoversev2", "neoversen2", "neoversev1", "neoversen1",
                                      "armv8sve", "armv8"}));
  EXPECT_EQ(runnable_kernel_sets(usable_features(identity_of(kV1, 0))),
            (std::vector<std::string>{"neoversev1", "neoversen1", "armv8sve", "armv8"}));
  EXPECT_EQ(runnable_kernel_sets(usable_features(identity_of(kN1, 0))),
            (std::vector<std::string>{"neoversen1", "armv8"}));
}

TEST(ArmFeatures, MissingOnesAreNamed) {
  const Features features = usable_features(identity_of(kN1, 0));
  EXPECT_EQ(missing_features(*find_kernel_set("NEOVERSEV1"), features),
            (std::vector<std::string>{"svebf16", "bf16", "sve", "fcma"}));
}

}  // namespace
}  // namespace leasehold::blas
