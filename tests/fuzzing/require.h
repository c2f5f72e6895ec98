// Checks a property that a fuzzer claims for every input. A failure ends the program, which
// libFuzzer reports as a finding.
#pragma once

#include <cstdio>
#include <cstdlib>

#define LEASEHOLD_FUZZ_REQUIRE(condition)                                          \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)
