#include "runtime/tensor/blas/arm_features.h"

#include <fmt/format.h>

namespace leasehold::blas {

namespace {

struct FeatureBit {
  uint64_t ArmIdentity::*word;
  int bit;
  const char* name;
};
// Linux, Documentation/arch/arm64/elf_hwcaps.rst.
constexpr FeatureBit kFeatureBits[] = {
    {&ArmIdentity::hwcap, 1, "asimd"},     {&ArmIdentity::hwcap, 8, "atomics"},
    {&ArmIdentity::hwcap, 14, "fcma"},     {&ArmIdentity::hwcap, 20, "asimddp"},
    {&ArmIdentity::hwcap, 22, "sve"},      {&ArmIdentity::hwcap2, 1, "sve2"},
    {&ArmIdentity::hwcap2, 12, "svebf16"}, {&ArmIdentity::hwcap2, 14, "bf16"},
};

struct Part {
  uint64_t implementer, part;
  const char* name;
};
// MIDR_EL1 as each manual of a core says it; Linux, arch/arm64/include/asm/cputype.h.
constexpr Part kParts[] = {
    {0x41, 0xd03, "Cortex-A53"},  {0x41, 0xd07, "Cortex-A57"},  {0x41, 0xd08, "Cortex-A72"},
    {0x41, 0xd0b, "Cortex-A76"},  {0x41, 0xd0c, "Neoverse N1"}, {0x41, 0xd40, "Neoverse V1"},
    {0x41, 0xd49, "Neoverse N2"}, {0x41, 0xd4f, "Neoverse V2"}, {0x41, 0xd84, "Neoverse V3"},
    {0x41, 0xd8e, "Neoverse N3"}, {0x43, 0x0af, "ThunderX2"},   {0x46, 0x001, "A64FX"},
    {0x48, 0xd01, "Kunpeng 920"}, {0xc0, 0xac3, "AmpereOne"},   {0xc0, 0xac4, "AmpereOne"},
};

}  // namespace

Features usable_features(const ArmIdentity& identity) {
  Features features;
  for (const FeatureBit& feature : kFeatureBits) {
    if ((identity.*feature.word >> feature.bit & 1) != 0) features.insert(feature.name);
  }
  return features;
}

std::string arm_processor_name(const ArmIdentity& identity) {
  if (identity.midr == 0) return "";
  const uint64_t implementer = identity.midr >> 24 & 0xFF;
  const uint64_t part = identity.midr >> 4 & 0xFFF;
  for (const Part& known : kParts) {
    if (known.implementer == implementer && known.part == part) return known.name;
  }
  return fmt::format("implementer {:#x} part {:#x}", implementer, part);
}

}  // namespace leasehold::blas
