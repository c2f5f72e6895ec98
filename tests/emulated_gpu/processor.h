// The parts of the emulation that are written in a processor's own instructions:
// processor_x86_64.cc and processor_aarch64.cc.
#pragma once

#include <cstddef>

namespace leasehold::emulation {

// Returns the stack pointer of a stack that has not run: the first switch to it calls
// entry(argument), which never returns. `top` is a multiple of 64.
void* prepare_stack(char* top, void (*entry)(void*), void* argument);

// Fills memory unseen by any sanitizer.
void fill_bytes(void* to, unsigned char value, size_t bytes);

}  // namespace leasehold::emulation

// Stores the registers that a call keeps on the stack that runs, its stack pointer in
// *save_stack_pointer, and continues the stack of `stack_pointer`.
extern "C" void leasehold_emulation_switch(void** save_stack_pointer, void* stack_pointer);
