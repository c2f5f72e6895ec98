#include <cstdint>

#include "tests/emulated_gpu/processor.h"

asm(R"(
.text
.p2align 4
.globl leasehold_emulation_switch
.type leasehold_emulation_switch, @function
leasehold_emulation_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size leasehold_emulation_switch, . - leasehold_emulation_switch
.globl leasehold_emulation_enter
.hidden leasehold_emulation_enter
.type leasehold_emulation_enter, @function
leasehold_emulation_enter:
  mov x0, x19
  blr x20
  brk #1
.size leasehold_emulation_enter, . - leasehold_emulation_enter
)");

extern "C" void leasehold_emulation_enter();

namespace leasehold::emulation {

void* prepare_stack(char* top, void (*entry)(void*), void* argument) {
  // The switch loads x19 to x28, x29 (the frame), x30 (where it returns to), d8 to d15.
  constexpr int kWords = 20;
  auto** words = reinterpret_cast<void**>(top - kWords * sizeof(void*));
  for (int i = 0; i < kWords; ++i) words[i] = nullptr;
  words[0] = argument;
  words[1] = reinterpret_cast<void*>(entry);
  words[11] = reinterpret_cast<void*>(&leasehold_emulation_enter);
  return words;
}

void fill_bytes(void* to, unsigned char value, size_t bytes) {
  const uint64_t word = value * uint64_t{0x0101010101010101};
  asm volatile(
      "  cmp %1, #16\n"
      "  b.lo 2f\n"
      "1: stp %2, %2, [%0], #16\n"
      "  sub %1, %1, #16\n"
      "  cmp %1, #16\n"
      "  b.hs 1b\n"
      "2: cbz %1, 4f\n"
      "3: strb %w2, [%0], #1\n"
      "  subs %1, %1, #1\n"
      "  b.ne 3b\n"
      "4:\n"
      : "+r"(to), "+r"(bytes)
      : "r"(word)
      : "memory", "cc");
}

}  // namespace leasehold::emulation
