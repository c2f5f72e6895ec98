#include "launch/launchers/batch_variables.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <unistd.h>
#include <vector>

namespace leasehold {

namespace {

constexpr std::array<std::string_view, 13> kPrefixes = {
    "SLURM_", "SLURMD_", "PBS_", "LSB_",  "SGE_",  "FLUX_",     "COBALT_",
    "ALPS_",  "PALS_",   "PMI_", "PMI2_", "PMIX_", "OMPI_COMM_"};
constexpr std::array<std::string_view, 1> kNames = {"PE_HOSTFILE"};

}  // namespace

bool is_batch_variable(std::string_view name) {
  return std::ranges::find(kNames, name) != kNames.end() ||
         std::ranges::any_of(kPrefixes,
                             [&](std::string_view prefix) { return name.starts_with(prefix); });
}

void forget_batch_system() {
  std::vector<std::string> found;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (is_batch_variable(name)) found.emplace_back(name);
  }
  for (const std::string& name : found) ::unsetenv(name.c_str());
}

}  // namespace leasehold
