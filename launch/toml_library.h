// toml++ as every file here includes it, so that all of them compile the same library. It is large:
// include this in the one source that turns a file's TOML into values of our own. The library gets
// what toml_in_ascii() returns (ascii_toml.h), nothing else.
#pragma once

#include <cstdint>  // which the library forgets

#define TOML_EXCEPTIONS 0  // NOLINT(readability-identifier-naming): the library's own name
#include <toml++/toml.h>
