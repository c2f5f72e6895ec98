// Catches host threads that load or store device memory: on a GPU that is a crash, here it would
// quietly work and hide a missing copy. Host files of emulated builds without another sanitizer are
// compiled to call a function at every load and store (-fsanitize=kernel-address, outlined); the
// functions are ours and ask only whether the address is a device's. memcpy, memmove and memset
// are wrapped by the linker. Not seen: what other libraries touch, and files compiled without (the
// kernels, the emulation itself, the CPU's kernels).
//
// A library of its own, because every program of such a build calls these functions, also one that
// uses no GPU.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leasehold::emulation {

// Where the devices' memory lies; before the call, nowhere.
void guard_device_memory(uintptr_t start, size_t bytes);
// Whether the calling thread may touch it (streams' threads may). Starts as false.
void allow_device_touches(bool allowed);

}  // namespace leasehold::emulation
