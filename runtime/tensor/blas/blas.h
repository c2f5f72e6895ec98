// OpenBLAS, opened while the program runs: the kernel set is chosen first (kernel_sets.h), then the
// library is opened with it. A process has one OpenBLAS with one kernel set, so these functions act
// on the whole process.
#pragma once

#include <cblas.h>
#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold::blas {

// The library as it was opened. It computes each call on the calling thread.
struct Library {
  std::string kernel_set;  // the one that the library says it uses: "Haswell"
  std::string config;      // "OpenBLAS 0.3.21 ... MAX_THREADS=64"
  decltype(&::cblas_sgemm) sgemm = nullptr;
  // For comparisons with the library's own threads only; back to 1 before kernels compute.
  decltype(&::openblas_set_num_threads) set_num_threads = nullptr;
};

// The kernel sets that this process may ask for, best first: those that its processor runs, or the
// one that the variable OPENBLAS_CORETYPE names. Empty where the library is left to choose
// (neither x86 nor AArch64).
struct OfferedKernelSets {
  std::string processor;  // its name
  std::vector<std::string> sets;
  bool pinned = false;  // by OPENBLAS_CORETYPE
};
// Asks processor and environment. kBadConfig when the variable names no known set, or one that this
// processor does not run.
Result<OfferedKernelSets> offered_kernel_sets();

// Opens the library with a kernel set ("": of the library's choice) and returns the set that it
// says it uses, which is another one where this build of it lacks the one that was asked for. An
// open library is closed first, unless it uses that set already: nobody may be computing with it,
// or keep what library() returned. The environment is as before afterwards. kBadConfig when there
// is no library, or it is no OpenBLAS.
Result<std::string> open_library(const std::string& kernel_set);

// Opens the library with the first of `sets` that it has, or with its own choice when `sets` is
// empty; else as open_library. kBadConfig when it has none of them.
Result<std::string> open_library_with_first(const std::vector<std::string>& sets);

// Closes the library where it is open; nobody may be computing with it.
void close_library();

// Returns the open library. Opens it with the best set that is offered when nobody has. Threads may
// call at once. Throws StatusError where that fails.
const Library& library();

}  // namespace leasehold::blas
