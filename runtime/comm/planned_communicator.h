// A communicator that knows its rank and size and performs nothing: what forecasts of a world that
// does not exist are made with.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace leasehold {

// Every operation throws StatusError (kInternal).
std::unique_ptr<Communicator> create_planned_communicator(int rank, int size,
                                                          const std::string& name);

}  // namespace leasehold
