#include "runtime/tensor/blas/kernel_sets.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

namespace leasehold::blas {

namespace {

// Bits of xcr0: what the operating system saves when it switches threads.
constexpr uint64_t kSavesAvx = 0x6;
constexpr uint64_t kSavesAvx512 = 0xe6;
constexpr uint64_t kSavesAmx = 0x60000;

struct FeatureBit {
  uint32_t ProcessorRegisters::*word;
  int bit;
  uint64_t saved;  // bits of xcr0 that it needs
  const char* name;
};
// Intel's manual, volume 2A, CPUID; AMD's, volume 3, appendix E.
constexpr FeatureBit kFeatureBits[] = {
    {&ProcessorRegisters::leaf_1_ecx, 0, 0, "sse3"},
    {&ProcessorRegisters::leaf_1_ecx, 9, 0, "ssse3"},
    {&ProcessorRegisters::leaf_1_ecx, 19, 0, "sse4_1"},
    {&ProcessorRegisters::leaf_1_ecx, 20, 0, "sse4_2"},
    {&ProcessorRegisters::leaf_1_ecx, 28, kSavesAvx, "avx"},
    {&ProcessorRegisters::leaf_1_ecx, 12, kSavesAvx, "fma"},
    {&ProcessorRegisters::leaf_7_ebx, 5, kSavesAvx, "avx2"},
    {&ProcessorRegisters::leaf_7_ebx, 16, kSavesAvx512, "avx512f"},
    {&ProcessorRegisters::leaf_7_ebx, 17, kSavesAvx512, "avx512dq"},
    {&ProcessorRegisters::leaf_7_ebx, 28, kSavesAvx512, "avx512cd"},
    {&ProcessorRegisters::leaf_7_ebx, 30, kSavesAvx512, "avx512bw"},
    {&ProcessorRegisters::leaf_7_ebx, 31, kSavesAvx512, "avx512vl"},
    {&ProcessorRegisters::leaf_7_1_eax, 5, kSavesAvx512, "avx512_bf16"},
    {&ProcessorRegisters::leaf_7_edx, 22, kSavesAmx, "amx_bf16"},
    {&ProcessorRegisters::leaf_7_edx, 24, kSavesAmx, "amx_tile"},
};
constexpr int kOsxsave = 27;  // of leaf_1_ecx: xgetbv exists and xcr0 means something

// SkylakeX comes before its descendants: they have the same fp32 kernels, and builds of the library
// leave them out or refuse them (0.3.21 of Debian 12 has no SapphireRapids). Haswell comes before
// Zen: their products have the same bits and speed, and Haswell is in every build. Sets of AArch64
// come after: no processor runs sets of both.
const KernelSet kKernelSets[] = {
    {"SkylakeX", {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"}},
    {"Haswell", {"avx2", "fma"}},
    {"Sandybridge", {"avx"}},
    {"Nehalem", {"sse4_2"}},
    {"Prescott", {"sse3"}},
    {"neoversev2", {"sve2", "svebf16", "bf16", "sve", "fcma", "asimddp", "atomics"}},
    {"neoversen2", {"sve2", "svebf16", "bf16", "sve", "fcma", "asimddp", "atomics"}},
    {"neoversev1", {"svebf16", "bf16", "sve", "fcma", "asimddp", "atomics"}},
    {"neoversen1", {"asimddp", "atomics"}},
    {"armv8sve", {"sve"}},
    {"armv8", {"asimd"}},
    {"Cooperlake",
     {"avx512_bf16", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"},
     false},
    {"SapphireRapids",
     {"amx_bf16", "amx_tile", "avx512_bf16", "avx512f", "avx512cd", "avx512bw", "avx512dq",
      "avx512vl", "avx2", "fma"},
     false},
    {"Zen", {"avx2", "fma"}, false},
};

}  // namespace

Features usable_features(const ProcessorRegisters& registers) {
  const bool says = (registers.leaf_1_ecx >> kOsxsave & 1) != 0;
  const uint64_t saved = says ? registers.xcr0 : 0;
  Features features;
  for (const FeatureBit& feature : kFeatureBits) {
    const bool has = (registers.*feature.word >> feature.bit & 1) != 0;
    if (has && (saved & feature.saved) == feature.saved) features.insert(feature.name);
  }
  return features;
}

std::span<const KernelSet> kernel_sets() { return kKernelSets; }

const KernelSet* find_kernel_set(std::string_view name) {
  const std::string wanted(name);
  for (const KernelSet& set : kKernelSets) {
    if (::strcasecmp(wanted.c_str(), std::string(set.name).c_str()) == 0) return &set;
  }
  return nullptr;
}

std::string kernel_set_names() {
  std::vector<std::string_view> names;
  for (const KernelSet& set : kKernelSets) names.push_back(set.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::vector<std::string> missing_features(const KernelSet& set, const Features& features) {
  std::vector<std::string> missing;
  for (const std::string_view need : set.needs) {
    if (!features.contains(need)) missing.emplace_back(need);
  }
  return missing;
}

std::vector<std::string> runnable_kernel_sets(const Features& features) {
  std::vector<std::string> names;
  for (const bool automatic : {true, false}) {
    for (const KernelSet& set : kKernelSets) {
      if (set.automatic == automatic && missing_features(set, features).empty())
        names.emplace_back(set.name);
    }
  }
  return names;
}

}  // namespace leasehold::blas
