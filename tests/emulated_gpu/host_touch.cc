#include "tests/emulated_gpu/host_touch.h"

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <execinfo.h>
#include <unistd.h>

namespace leasehold::emulation {
namespace {

constinit uintptr_t g_start = 0;
constinit size_t g_bytes = 0;
constinit thread_local bool t_allowed = false;

[[gnu::noinline, gnu::cold]] void fail(uintptr_t address, size_t bytes, const char* what) {
  fprintf(stderr,
          "emulated GPU: the host %s %zu bytes of device memory at %#zx; it must copy them, on a "
          "stream\n",
          what, bytes, static_cast<size_t>(address));
  void* frames[32];
  backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
  abort();
}

// Also a range that only reaches into device memory.
inline void check(uintptr_t address, size_t bytes, const char* what) {
  if (address + bytes - g_start >= g_bytes + bytes) [[likely]] {
    return;
  }
  if (g_bytes != 0 && bytes != 0 && !t_allowed) fail(address, bytes, what);
}

}  // namespace

void guard_device_memory(uintptr_t start, size_t bytes) {
  g_start = start;
  g_bytes = bytes;
}

void allow_device_touches(bool allowed) { t_allowed = allowed; }

}  // namespace leasehold::emulation

using leasehold::emulation::check;

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {

#define LEASEHOLD_TOUCH(bytes)                                                             \
  void __asan_load##bytes##_noabort(uintptr_t address);                                    \
  void __asan_load##bytes##_noabort(uintptr_t address) { check(address, bytes, "reads"); } \
  void __asan_store##bytes##_noabort(uintptr_t address);                                   \
  void __asan_store##bytes##_noabort(uintptr_t address) { check(address, bytes, "writes"); }

LEASEHOLD_TOUCH(1)
LEASEHOLD_TOUCH(2)
LEASEHOLD_TOUCH(4)
LEASEHOLD_TOUCH(8)
LEASEHOLD_TOUCH(16)

void __asan_loadN_noabort(uintptr_t address, size_t bytes);
void __asan_loadN_noabort(uintptr_t address, size_t bytes) { check(address, bytes, "reads"); }
void __asan_storeN_noabort(uintptr_t address, size_t bytes);
void __asan_storeN_noabort(uintptr_t address, size_t bytes) { check(address, bytes, "writes"); }
void __asan_handle_no_return();
void __asan_handle_no_return() {}
void __asan_before_dynamic_init(const char* module);
void __asan_before_dynamic_init(const char*) {}
void __asan_after_dynamic_init();
void __asan_after_dynamic_init() {}

void* __real_memcpy(void* to, const void* from, size_t bytes);
void* __real_memmove(void* to, const void* from, size_t bytes);
void* __real_memset(void* to, int value, size_t bytes);
void* __wrap_memcpy(void* to, const void* from, size_t bytes);
void* __wrap_memmove(void* to, const void* from, size_t bytes);
void* __wrap_memset(void* to, int value, size_t bytes);

void* __wrap_memcpy(void* to, const void* from, size_t bytes) {
  check(reinterpret_cast<uintptr_t>(from), bytes, "copies");
  check(reinterpret_cast<uintptr_t>(to), bytes, "copies to");
  return __real_memcpy(to, from, bytes);
}
void* __wrap_memmove(void* to, const void* from, size_t bytes) {
  check(reinterpret_cast<uintptr_t>(from), bytes, "copies");
  check(reinterpret_cast<uintptr_t>(to), bytes, "copies to");
  return __real_memmove(to, from, bytes);
}
void* __wrap_memset(void* to, int value, size_t bytes) {
  check(reinterpret_cast<uintptr_t>(to), bytes, "fills");
  return __real_memset(to, value, bytes);
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
