#include "tests/emulated_gpu/fiber.h"

#include <bit>
#include <cstdint>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/emulated_gpu/annotate.h"
#include "tests/emulated_gpu/processor.h"

namespace leasehold::emulation {
namespace {

constexpr size_t kTops = 4096;  // bytes over which the tops of stacks are spread

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
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  fiber.mapped_bytes = page_bytes + kFiberStackBytes + kTops;
  // Not by mmap(), which the thread sanitizer takes for a write by whoever calls.
  const int64_t address = syscall(SYS_mmap, nullptr, fiber.mapped_bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (address < 0) throw std::bad_alloc();
  void* mapping = std::bit_cast<void*>(address);
  syscall(SYS_mprotect, mapping, page_bytes, PROT_NONE);
  fiber.mapping = mapping;
  fiber.bottom = static_cast<char*>(mapping) + page_bytes;
  fiber.bytes = kFiberStackBytes + kTops - number * 320 % kTops / 64 * 64;
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
  fiber.stack_pointer = prepare_stack(top - 64, &enter, start);
  fiber.asan_state = nullptr;
}

void switch_fiber(Fiber& from, Fiber& to) {
  asan_start_switch(&from.asan_state, to.bottom, to.bytes);
  leasehold_emulation_switch(&from.stack_pointer, to.stack_pointer);
  asan_finish_switch(from.asan_state, nullptr, nullptr);
}

}  // namespace leasehold::emulation
