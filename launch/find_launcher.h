// Finds the installed launcher and checks that it can start leasehold-train.
#pragma once

#include <memory>
#include <string>

#include "launch/launchers/launcher.h"

namespace leasehold {

// Runs `mpirun --version` and `train_program --version`, each for at most some seconds. Fails with
// kMissingInput if there is no such mpirun, with kBadConfig if Leasehold does not know the launcher
// or it belongs to another MPI than the program, and with kUnavailable if one of the two does not
// answer.
Result<std::unique_ptr<Launcher>> find_launcher(const std::string& mpirun,
                                                const std::string& train_program);

}  // namespace leasehold
