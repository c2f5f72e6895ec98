#include "launch/version.h"

namespace leasehold {

const char* version() { return LEASEHOLD_VERSION; }

std::string build_lines() {
  return std::string("commit: ") + commit() + "\nGPUs: " LEASEHOLD_GPU_KIND
         "\ninstructions: " LEASEHOLD_INSTRUCTIONS;
}

}  // namespace leasehold
