// States which program this is: its version, the commit that it was built from and its features.
#pragma once

#include <string>

namespace leasehold {

// Returns "0.1.0".
const char* version();

// Returns the commit that the program was built from ("16de9ea1b2c3", with "-dirty" where files
// differed from it), or "unknown" for a build from an archive.
const char* commit();

// Returns the lines of `--version` that both programs have, each "NAME: VALUE":
//   commit: 16de9ea1b2c3
//   GPUs: absent            (or cuda, or emulated)
//   instructions: x86-64-v3
std::string build_lines();

}  // namespace leasehold
