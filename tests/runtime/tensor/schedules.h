// In which order a GPU runs what is launched, where that can be chosen: on the emulated one. Two
// files define these functions, schedules_emulated.cc and schedules_hardware.cc.
#pragma once

#include <cstdint>
#include <vector>

namespace leasehold {

// Seeds of orders to try; one on hardware, which has an order of its own.
std::vector<uint64_t> schedules();
// The order of all that is launched from now on. Nothing on hardware.
void use_schedule(uint64_t seed);
// True when a test must not be skipped for want of a GPU.
bool always_has_gpu();

}  // namespace leasehold
