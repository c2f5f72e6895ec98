#include "tests/emulated_gpu/processor.h"

asm(R"(
.text
.p2align 4
.globl leasehold_emulation_switch
.type leasehold_emulation_switch, @function
leasehold_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size leasehold_emulation_switch, . - leasehold_emulation_switch
.type leasehold_emulation_enter, @function
leasehold_emulation_enter:
  movq %r12, %rdi
  callq *%r13
  ud2
.size leasehold_emulation_enter, . - leasehold_emulation_enter
)");

extern "C" void leasehold_emulation_enter();

namespace leasehold::emulation {

void* prepare_stack(char* top, void (*entry)(void*), void* argument) {
  // The switch pops r15, r14, r13, r12, rbx, rbp, and where it returns to, with the stack
  // aligned to 16 bytes then.
  constexpr int kWords = 9;
  auto** words = reinterpret_cast<void**>(top - kWords * sizeof(void*));
  for (int i = 0; i < kWords; ++i) words[i] = nullptr;
  words[2] = reinterpret_cast<void*>(entry);
  words[3] = argument;
  words[6] = reinterpret_cast<void*>(&leasehold_emulation_enter);
  return words;
}

void fill_bytes(void* to, unsigned char value, size_t bytes) {
  asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
}

}  // namespace leasehold::emulation
