#include "tests/emulated_gpu/emulation.h"
#include "tests/runtime/tensor/schedules.h"

namespace leasehold {

std::vector<uint64_t> schedules() { return {1, 2}; }
void use_schedule(uint64_t seed) { emulation::set_seed(seed); }
bool always_has_gpu() { return true; }

}  // namespace leasehold
