// The features and the name of an AArch64 processor, from what Linux tells a program of it. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/tensor/blas/kernel_sets.h"

namespace leasehold::blas {

struct ArmIdentity {
  uint64_t hwcap = 0;   // getauxval(AT_HWCAP)
  uint64_t hwcap2 = 0;  // getauxval(AT_HWCAP2)
  uint64_t midr = 0;    // register MIDR_EL1; 0 where the system does not show it
};

// Returns the features that decide about kernel sets, by their names in /proc/cpuinfo ("asimddp").
// The system leaves out what it or a hypervisor does not let programs use.
Features usable_features(const ArmIdentity& identity);

// Returns "Neoverse V2" for a known part, else "implementer 0x41 part 0xd4f"; "" for midr 0.
std::string arm_processor_name(const ArmIdentity& identity);

}  // namespace leasehold::blas
