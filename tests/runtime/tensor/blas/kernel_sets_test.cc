// The kernel set of each processor of the last ten years, from what cpuid and xgetbv answer.
#include "runtime/tensor/blas/kernel_sets.h"

#include <gtest/gtest.h>
#include <map>
#include <sstream>

#include "runtime/tensor/blas/processor.h"

namespace leasehold::blas {
namespace {

// The manuals' bits, written down a second time: leaf 1 ecx, leaf 7 ebx and edx, leaf 7.1 eax.
ProcessorRegisters registers_of(const std::string& flags, uint64_t xcr0) {
  static const std::map<std::string, std::pair<int, uint32_t>> kBits = {
      {"sse3", {0, 0x1}},
      {"ssse3", {0, 0x200}},
      {"fma", {0, 0x1000}},
      {"sse4_1", {0, 0x80000}},
      {"sse4_2", {0, 0x100000}},
      {"osxsave", {0, 0x8000000}},
      {"avx", {0, 0x10000000}},
      {"avx2", {1, 0x20}},
      {"avx512f", {1, 0x10000}},
      {"avx512dq", {1, 0x20000}},
      {"avx512pf", {1, 0x4000000}},
      {"avx512er", {1, 0x8000000}},
      {"avx512cd", {1, 0x10000000}},
      {"avx512bw", {1, 0x40000000}},
      {"avx512vl", {1, 0x80000000}},
      {"amx_bf16", {2, 0x400000}},
      {"amx_tile", {2, 0x1000000}},
      {"avx512_bf16", {3, 0x20}},
      {"avx_vnni", {3, 0x10}}};
  ProcessorRegisters registers;
  registers.xcr0 = xcr0;
  uint32_t* const words[] = {&registers.leaf_1_ecx, &registers.leaf_7_ebx, &registers.leaf_7_edx,
                             &registers.leaf_7_1_eax};
  std::istringstream names(flags);
  for (std::string name; names >> name;) {
    const auto [word, bits] = kBits.at(name);
    *words[word] |= bits;
  }
  return registers;
}

constexpr const char* kSse = "sse3 ssse3 sse4_1 sse4_2 ";
constexpr const char* kHaswell = "sse3 ssse3 sse4_1 sse4_2 osxsave avx fma avx2 ";
constexpr const char* kSkylake =
    "sse3 ssse3 sse4_1 sse4_2 osxsave avx fma avx2 avx512f avx512dq avx512cd avx512bw avx512vl ";
constexpr uint64_t kSaves128 = 0x3, kSaves256 = 0x7, kSaves512 = 0xe7, kSavesTiles = 0x602e7;

struct Row {
  const char* processor;
  std::string flags;
  uint64_t xcr0;
  const char* set;  // "": none
};

// Flags as published of each part; those that decide nothing are left out.
const Row kRows[] = {
    // Intel, servers.
    {"Haswell-EP, Xeon E5 v3", kHaswell, kSaves256, "Haswell"},
    {"Broadwell-EP, Xeon E5 v4", kHaswell, kSaves256, "Haswell"},
    {"Knights Landing, Xeon Phi", std::string(kHaswell) + "avx512f avx512cd avx512pf avx512er",
     kSaves512, "Haswell"},
    {"Skylake-SP", kSkylake, kSaves512, "SkylakeX"},
    {"Cascade Lake", kSkylake, kSaves512, "SkylakeX"},
    {"Cooper Lake", std::string(kSkylake) + "avx512_bf16", kSaves512, "SkylakeX"},
    {"Ice Lake-SP", kSkylake, kSaves512, "SkylakeX"},
    {"Sapphire Rapids", std::string(kSkylake) + "avx512_bf16 avx_vnni amx_bf16 amx_tile",
     kSavesTiles, "SkylakeX"},
    {"Emerald Rapids", std::string(kSkylake) + "avx512_bf16 avx_vnni amx_bf16 amx_tile",
     kSavesTiles, "SkylakeX"},
    {"Granite Rapids", std::string(kSkylake) + "avx512_bf16 avx_vnni amx_bf16 amx_tile",
     kSavesTiles, "SkylakeX"},
    {"Sierra Forest, no AVX-512", std::string(kHaswell) + "avx_vnni", kSaves256, "Haswell"},
    // Intel, desktops and laptops.
    {"Skylake, Kaby Lake, Coffee Lake, Comet Lake", kHaswell, kSaves256, "Haswell"},
    {"Ice Lake, Tiger Lake, Rocket Lake", kSkylake, kSaves512, "SkylakeX"},
    {"Alder Lake, AVX-512 fused off", std::string(kHaswell) + "avx_vnni", kSaves256, "Haswell"},
    {"Alder Lake of the first months, efficient cores off", std::string(kSkylake) + "avx512_bf16",
     kSaves512, "SkylakeX"},
    {"Raptor Lake, Meteor Lake, Arrow Lake, Lunar Lake", std::string(kHaswell) + "avx_vnni",
     kSaves256, "Haswell"},
    {"Gracemont, N100", std::string(kHaswell) + "avx_vnni", kSaves256, "Haswell"},
    {"Goldmont, Atom C3000: no AVX", std::string(kSse) + "osxsave", kSaves128, "Nehalem"},
    {"Pentium and Celeron of Skylake: AVX fused off", std::string(kSse) + "osxsave", kSaves128,
     "Nehalem"},
    // AMD and what is built on it.
    {"Excavator", kHaswell, kSaves256, "Haswell"},
    {"Zen, EPYC 7001", kHaswell, kSaves256, "Haswell"},
    {"Hygon Dhyana", kHaswell, kSaves256, "Haswell"},
    {"Zen 2, EPYC 7002", kHaswell, kSaves256, "Haswell"},
    {"Zen 3, EPYC 7003", kHaswell, kSaves256, "Haswell"},
    {"Zen 4, EPYC 9004", std::string(kSkylake) + "avx512_bf16", kSaves512, "SkylakeX"},
    {"Zen 5, EPYC 9005", std::string(kSkylake) + "avx512_bf16 avx_vnni", kSaves512, "SkylakeX"},
    // A hypervisor or system in between.
    {"Emerald Rapids, AMX masked", std::string(kSkylake) + "avx512_bf16 avx_vnni", kSaves512,
     "SkylakeX"},
    {"Emerald Rapids, AVX-512 and AMX masked", std::string(kHaswell) + "avx_vnni", kSaves256,
     "Haswell"},
    {"Emerald Rapids, AVX-512 there and not saved by the system",
     std::string(kSkylake) + "avx512_bf16", kSaves256, "Haswell"},
    {"Skylake-SP, opmask registers not saved", kSkylake, 0xc7, "Haswell"},
    {"Skylake-SP, avx512vl alone masked",
     std::string(kHaswell) + "avx512f avx512dq avx512cd avx512bw", kSaves512, "Haswell"},
    {"Ivy Bridge", std::string(kSse) + "osxsave avx", kSaves256, "Sandybridge"},
    {"AVX2 without FMA", std::string(kSse) + "osxsave avx avx2", kSaves256, "Sandybridge"},
    {"AVX there and not saved by the system", kHaswell, kSaves128, "Nehalem"},
    {"no osxsave: xcr0 means nothing", std::string(kSse) + "avx fma avx2", kSaves256, "Nehalem"},
    {"Core 2", "sse3 ssse3", 0, "Prescott"},
    {"before all of them", "", 0, ""},
};

TEST(KernelSets, EveryProcessorGetsTheBestThatItRuns) {
  for (const Row& row : kRows) {
    const Features features = usable_features(registers_of(row.flags, row.xcr0));
    const auto sets = runnable_kernel_sets(features);
    EXPECT_EQ(sets.empty() ? "" : sets.front(), row.set) << row.processor;
    for (const std::string& set : sets) {
      EXPECT_TRUE(missing_features(*find_kernel_set(set), features).empty()) << row.processor;
    }
  }
}

TEST(KernelSets, WhatOneProcessorRunsThatOthersShare) {
  const auto sets_of = [](const std::string& flags, uint64_t xcr0) {
    return runnable_kernel_sets(usable_features(registers_of(flags, xcr0)));
  };
  EXPECT_EQ(sets_of(kHaswell, kSaves256),
            (std::vector<std::string>{"Haswell", "Sandybridge", "Nehalem", "Prescott", "Zen"}));
  EXPECT_EQ(sets_of(std::string(kSkylake) + "avx512_bf16 amx_bf16 amx_tile", kSavesTiles),
            (std::vector<std::string>{"SkylakeX", "Haswell", "Sandybridge", "Nehalem", "Prescott",
                                      "Cooperlake", "SapphireRapids", "Zen"}));
  // Tiles that the system does not save.
  EXPECT_EQ(sets_of(std::string(kSkylake) + "avx512_bf16 amx_bf16 amx_tile", kSaves512),
            (std::vector<std::string>{"SkylakeX", "Haswell", "Sandybridge", "Nehalem", "Prescott",
                                      "Cooperlake", "Zen"}));
}

TEST(KernelSets, AreFoundByNameInAnyCaseAndSayWhatIsMissing) {
  ASSERT_NE(find_kernel_set("skylakex"), nullptr);
  EXPECT_EQ(find_kernel_set("SKYLAKEX")->name, "SkylakeX");
  EXPECT_EQ(find_kernel_set("auto"), nullptr);
  EXPECT_EQ(find_kernel_set(""), nullptr);
  const Features haswell = usable_features(registers_of(kHaswell, kSaves256));
  const auto missing = missing_features(*find_kernel_set("SkylakeX"), haswell);
  EXPECT_EQ(missing,
            (std::vector<std::string>{"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}));
  EXPECT_NE(kernel_set_names().find("Haswell"), std::string::npos);
}

TEST(ThisProcessor, RunsWhatTheBuildWants) {
  const Processor processor = this_processor();
#if defined(__x86_64__)
  EXPECT_TRUE(processor.has_known_sets);
  // This program was compiled for AVX2 and runs.
#if defined(__AVX2__) && defined(__FMA__)
  EXPECT_TRUE(processor.features.contains("avx2"));
  EXPECT_TRUE(missing_features(*find_kernel_set("Haswell"), processor.features).empty());
#endif
  EXPECT_EQ(processor.features.contains("avx512f"), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(processor.features.contains("fma"), __builtin_cpu_supports("fma") != 0);
#elif defined(__aarch64__)
  EXPECT_TRUE(processor.has_known_sets);
  EXPECT_TRUE(missing_features(*find_kernel_set("armv8"), processor.features).empty());
#else
  EXPECT_FALSE(processor.has_known_sets);
#endif
}

}  // namespace
}  // namespace leasehold::blas
