// Each rank has a GPU of its own.
#pragma once

#include "collectives/bootstrap.h"
#include "runtime/device/device.h"

namespace leasehold {

// Collective. kBadConfig, naming ranks, node and the way out, where two ranks of a node have the
// same GPU, as where a launcher shows all tasks the same one. Ok on the CPU.
Status check_own_gpus(Device& device, ProcessGroup& processes, Stream& stream, Deadline deadline);

}  // namespace leasehold
