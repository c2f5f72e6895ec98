// Builds parts of a launcher's command line.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launch/launchers/launcher.h"

namespace leasehold {

using Arguments = std::vector<std::string>;

// Adds `more` at the end.
void append(Arguments& arguments, const Arguments& more);

// Returns true if `arguments` name the word, a parameter or an option. An option may have one dash
// or two, and may carry its value after a '='.
bool mention(const Arguments& arguments, const std::string& word);

// The arguments in launch.mpirun_args: the launcher's own options, and the variables to export (`-x
// NAME` of Open MPI).
struct GivenArguments {
  Arguments general, exported;
};
// Separates the two kinds.
GivenArguments split_given(const Arguments& arguments);

// Returns leasehold-train with the arguments that every rank gets.
Arguments train_arguments(const LaunchRequest& request);

// Returns LEASEHOLD_GENERATION and _SUPERVISOR with their values.
std::vector<std::pair<std::string, std::string>> generation_variables(const LaunchRequest& request);

}  // namespace leasehold
