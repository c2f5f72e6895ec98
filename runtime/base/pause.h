// The pause of a thread that spins.
#pragma once

namespace leasehold {

// Lets the processor rest for some tens of cycles, to the good of the other thread of its core.
// `yield` of AArch64 returns at once on most cores; `isb` takes about as long as `pause` of x86.
inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace leasehold
