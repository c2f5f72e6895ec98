// The group of one rank. Every operation is a copy or nothing, in the order of its stream.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace leasehold {

// Makes a group for the streams of CPU devices. It must outlive the streams' work that waits for
// its operations.
std::unique_ptr<Communicator> create_self_communicator(const std::string& name);
// Makes a group for the streams of `device`, which must outlive the communicator.
std::unique_ptr<Communicator> create_self_communicator(const std::string& name, Device& device);

}  // namespace leasehold
