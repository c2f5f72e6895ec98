// Communicators that know their rank and size and perform nothing. They serve forecasts of a world
// that does not exist, and rehearsals without the other ranks.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace leasehold {

// Returns such a communicator: every operation throws StatusError (kInternal).
std::unique_ptr<Communicator> create_planned_communicator(int rank, int size,
                                                          const std::string& name);
// Returns one whose operations are done at once and leave their memory as it was.
std::unique_ptr<Communicator> create_idle_communicator(int rank, int size, const std::string& name);

}  // namespace leasehold
