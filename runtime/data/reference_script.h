// The text of reference_tokenizer.py. CMake writes the source file, so that the program contains
// it.
#pragma once

#include <string_view>

namespace leasehold {

// Returns the whole script.
std::string_view reference_script();

}  // namespace leasehold
