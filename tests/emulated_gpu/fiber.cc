#include "tests/emulated_gpu/fiber.h"

#include <bit>
#include <cstdint>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/emulated_gpu/annotate.h"

#ifndef __x86_64__
#error \
    "The emulated GPU switches stacks in x86-64 assembly; write leasehold_emulation_switch for this processor."
#endif

// switch(void** save_stack_pointer, void* stack_pointer): the registers that a call keeps go to
// the old stack and come from the new one.
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

extern "C" {
void leasehold_emulation_switch(void** save_stack_pointer, void* stack_pointer);
void leasehold_emulation_enter();
}

namespace leasehold::emulation {
namespace {

constexpr size_t kPage = 4096;

struct Start {
  void (*entry)(void*);
  void* argument;
};

void enter(void* argument) {
  const Start start = *static_cast<const Start*>(argument);
  asan_finish_switch(nullptr, nullptr, nullptr);
  start.entry(start.argument);
}

}  // namespace

void map_fiber(Fiber& fiber, size_t number) {
  fiber.mapped_bytes = kFiberStackBytes + 2 * kPage;
  // Not by mmap(), which the thread sanitizer takes for a write by whoever calls.
  const int64_t address = syscall(SYS_mmap, nullptr, fiber.mapped_bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (address < 0) throw std::bad_alloc();
  void* mapping = std::bit_cast<void*>(address);
  syscall(SYS_mprotect, mapping, kPage, PROT_NONE);
  fiber.mapping = mapping;
  fiber.bottom = static_cast<char*>(mapping) + kPage;
  fiber.bytes = kFiberStackBytes + kPage - number * 320 % kPage / 64 * 64;
}

void unmap_fiber(Fiber& fiber) {
  unpoison(fiber.bottom, fiber.bytes);
  syscall(SYS_munmap, fiber.mapping, fiber.mapped_bytes);
  fiber = Fiber{};
}

void start_fiber(Fiber& fiber, void (*entry)(void*), void* argument) {
  unpoison(fiber.bottom, fiber.bytes);
  char* top = static_cast<char*>(fiber.bottom) + fiber.bytes;
  auto* start = reinterpret_cast<Start*>(top - 64);
  *start = Start{entry, argument};
  // What the switch pops: r15, r14, r13, r12, rbx, rbp, and where it returns to, with the stack
  // aligned to 16 bytes then.
  constexpr int kWords = 9;
  auto** words = reinterpret_cast<void**>(top - 64 - kWords * sizeof(void*));
  for (int i = 0; i < kWords; ++i) words[i] = nullptr;
  words[2] = reinterpret_cast<void*>(&enter);
  words[3] = start;
  words[6] = reinterpret_cast<void*>(&leasehold_emulation_enter);
  fiber.stack_pointer = words;
  fiber.asan_state = nullptr;
}

void switch_fiber(Fiber& from, Fiber& to) {
  asan_start_switch(&from.asan_state, to.bottom, to.bytes);
  leasehold_emulation_switch(&from.stack_pointer, to.stack_pointer);
  asan_finish_switch(from.asan_state, nullptr, nullptr);
}

}  // namespace leasehold::emulation
