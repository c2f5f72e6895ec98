// Includes toml++ with the same settings everywhere, so that all files compile the same library. It
// is large: include this only in the source that turns a file's TOML into values of our own. The
// library may only be given text from toml_in_ascii() (ascii_toml.h).
#pragma once

#include <cstdint>  // which toml++ needs and does not include

#define TOML_EXCEPTIONS 0  // NOLINT(readability-identifier-naming): the library's own name
#include <toml++/toml.h>
