// Building blocks of a launcher's command line.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launch/launchers/launcher.h"

namespace leasehold {

using Arguments = std::vector<std::string>;

// Adds `more` at the end.
void append(Arguments& arguments, const Arguments& more);

// Returns true when `arguments` name the word, a parameter or an option. An option may be written
// with one dash or two, and with its value after a '='.
bool mention(const Arguments& arguments, const std::string& word);

// The contents of launch.mpirun_args: the launcher's own options, and the variables that are
// exported (`-x NAME` of Open MPI).
struct GivenArguments {
  Arguments general, exported;
};
// Tells the two apart.
GivenArguments split_given(const Arguments& arguments);

// Returns leasehold-train with the arguments that all ranks get.
Arguments train_arguments(const LaunchRequest& request);

// Returns LEASEHOLD_GENERATION and _SUPERVISOR with their values.
std::vector<std::pair<std::string, std::string>> generation_variables(const LaunchRequest& request);

}  // namespace leasehold
