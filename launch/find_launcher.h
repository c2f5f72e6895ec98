// Finds out which launcher is installed, and makes sure that it starts leasehold-train.
#pragma once

#include <memory>
#include <string>

#include "launch/launchers/launcher.h"

namespace leasehold {

// Runs `mpirun --version` and `train_program --version`, each at most some seconds. kMissingInput
// when there is no such mpirun; kBadConfig when it is none that Leasehold knows, or belongs to
// another MPI than the program; kUnavailable when one of them does not answer.
Result<std::unique_ptr<Launcher>> find_launcher(const std::string& mpirun,
                                                const std::string& train_program);

}  // namespace leasehold
