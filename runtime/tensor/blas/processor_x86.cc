// Asks x86 processors, by cpuid and xgetbv.
#include <algorithm>
#include <cpuid.h>
#include <cstring>

#include "runtime/tensor/blas/processor.h"

namespace leasehold::blas {

namespace {

struct Answer {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Asks for a leaf of cpuid; zeros where the processor has no such leaf.
Answer ask(uint32_t leaf, uint32_t subleaf) {
  Answer answer;
  __get_cpuid_count(leaf, subleaf, &answer.eax, &answer.ebx, &answer.ecx, &answer.edx);
  return answer;
}

// Reads the register that says what the operating system saves. Only where osxsave is set.
uint64_t read_xcr0() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

std::string brand() {
  constexpr uint32_t kFirst = 0x80000002, kParts = 3;
  char text[kParts * sizeof(Answer) + 1] = {};
  for (uint32_t part = 0; part < kParts; ++part) {
    const Answer answer = ask(kFirst + part, 0);
    std::memcpy(text + part * sizeof answer, &answer, sizeof answer);
  }
  std::string name = text;
  name.erase(0, std::min(name.find_first_not_of(' '), name.size()));
  name.erase(name.find_last_not_of(' ') + 1);
  return name;
}

}  // namespace

Processor this_processor() {
  ProcessorRegisters registers;
  registers.leaf_1_ecx = ask(1, 0).ecx;
  const Answer leaf_7 = ask(7, 0);
  registers.leaf_7_ebx = leaf_7.ebx;
  registers.leaf_7_edx = leaf_7.edx;
  if (leaf_7.eax >= 1) registers.leaf_7_1_eax = ask(7, 1).eax;
  constexpr uint32_t kOsxsave = uint32_t{1} << 27;
  if ((registers.leaf_1_ecx & kOsxsave) != 0) registers.xcr0 = read_xcr0();
  return {.name = brand(), .has_known_sets = true, .features = usable_features(registers)};
}

}  // namespace leasehold::blas
