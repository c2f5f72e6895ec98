// reference_tokenizer.py as text. CMake writes the source file, so that the program carries it.
#pragma once

#include <string_view>

namespace leasehold {

// Returns the whole program.
std::string_view reference_script();

}  // namespace leasehold
