// What the sanitizers must be told: which stack runs, and what CUDA orders. Nothing in plain
// builds. The emulation's core is compiled without the thread sanitizer (it would take the core's
// own locks and copies for the program's), so LEASEHOLD_EMULATION_TSAN says that the rest has it.
#pragma once

#include <cstddef>

#if defined(LEASEHOLD_EMULATION_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" {
// The thread sanitizer's, whose header is not there with every compiler.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void* __tsan_get_current_fiber();
void __tsan_switch_to_fiber(void* fiber, unsigned f);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
}

namespace leasehold::emulation {

#if defined(LEASEHOLD_EMULATION_TSAN)
constexpr bool kTsan = true;
inline void order_release(void* point) { __tsan_release(point); }
inline void order_acquire(void* point) { __tsan_acquire(point); }
inline void* tsan_create_fiber() { return __tsan_create_fiber(0); }
inline void tsan_destroy_fiber(void* fiber) { __tsan_destroy_fiber(fiber); }
inline void* tsan_current_fiber() { return __tsan_get_current_fiber(); }
// Without an order between the two fibers.
inline void tsan_switch(void* fiber) { __tsan_switch_to_fiber(fiber, 1); }
#else
constexpr bool kTsan = false;
inline void order_release(void*) {}
inline void order_acquire(void*) {}
inline void* tsan_create_fiber() { return nullptr; }
inline void tsan_destroy_fiber(void*) {}
inline void* tsan_current_fiber() { return nullptr; }
inline void tsan_switch(void*) {}
#endif

#if defined(LEASEHOLD_EMULATION_ASAN)
constexpr bool kAsan = true;
inline void poison(const void* from, size_t bytes) { __asan_poison_memory_region(from, bytes); }
inline void unpoison(const void* from, size_t bytes) { __asan_unpoison_memory_region(from, bytes); }
inline void asan_start_switch(void** save, const void* bottom, size_t bytes) {
  __sanitizer_start_switch_fiber(save, bottom, bytes);
}
inline void asan_finish_switch(void* saved, const void** old_bottom, size_t* old_bytes) {
  __sanitizer_finish_switch_fiber(saved, old_bottom, old_bytes);
}
#else
constexpr bool kAsan = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
inline void asan_start_switch(void**, const void*, size_t) {}
inline void asan_finish_switch(void*, const void**, size_t*) {}
#endif

}  // namespace leasehold::emulation
