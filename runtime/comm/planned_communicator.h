// A communicator that knows its rank and size and performs nothing. It serves forecasts of a world
// that does not exist.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace leasehold {

// Returns such a communicator: every operation throws StatusError (kInternal).
std::unique_ptr<Communicator> create_planned_communicator(int rank, int size,
                                                          const std::string& name);

}  // namespace leasehold
