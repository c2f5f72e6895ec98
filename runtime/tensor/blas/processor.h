// The processor that runs this program, with its features.
#pragma once

#include <string>

#include "runtime/tensor/blas/kernel_sets.h"

namespace leasehold::blas {

struct Processor {
  std::string name;  // "AMD EPYC 7763 64-Core Processor"; "" where it does not say
  // False: the library's kernel sets are not known here (neither x86 nor AArch64), and the choice
  // is its own.
  bool has_known_sets = false;
  Features features;
};

// Asks the processor. All cores of a machine are taken to be alike.
Processor this_processor();

}  // namespace leasehold::blas
