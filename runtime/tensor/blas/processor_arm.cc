// Asks AArch64 processors, by the auxiliary vector and MIDR_EL1, which Linux lets programs read.
#include <sys/auxv.h>

#include "runtime/tensor/blas/arm_features.h"
#include "runtime/tensor/blas/processor.h"

namespace leasehold::blas {

namespace {

uint64_t read_midr() {
  uint64_t midr = 0;
  __asm__("mrs %0, MIDR_EL1" : "=r"(midr));
  return midr;
}

}  // namespace

Processor this_processor() {
  constexpr uint64_t kReadsIdentity = uint64_t{1} << 11;  // HWCAP_CPUID
  ArmIdentity identity{.hwcap = ::getauxval(AT_HWCAP), .hwcap2 = ::getauxval(AT_HWCAP2)};
  if ((identity.hwcap & kReadsIdentity) != 0) identity.midr = read_midr();
  return {.name = arm_processor_name(identity),
          .has_known_sets = true,
          .features = usable_features(identity)};
}

}  // namespace leasehold::blas
