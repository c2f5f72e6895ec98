// Building blocks of a launcher's command line.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launch/launchers/launcher.h"

namespace leasehold {

using Arguments = std::vector<std::string>;

void append(Arguments& arguments, const Arguments& more);

// True when `arguments` name the word: a parameter, or an option.
bool mention(const Arguments& arguments, const std::string& word);

// What launch.mpirun_args say: the launcher's own options, and the variables that are exported
// (`-x NAME` of Open MPI).
struct GivenArguments {
  Arguments general, exported;
};
GivenArguments split_given(const Arguments& arguments);

// leasehold-train with the arguments that all ranks get.
Arguments train_arguments(const LaunchRequest& request);

// LEASEHOLD_GENERATION, _SUPERVISOR and _TOKEN with their values.
std::vector<std::pair<std::string, std::string>> generation_variables(const LaunchRequest& request);

}  // namespace leasehold
