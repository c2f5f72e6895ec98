// The kernel sets of OpenBLAS on x86 and AArch64, and the features that each wants of a processor.
// Pure.
//
// A kernel set is all code that the library computes by on one family of processors. Products of
// two sets differ in their last bits, so a run keeps to one of them.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace leasehold::blas {

// Instructions by the names of /proc/cpuinfo ("avx2"; "sse3" for pni).
using Features = std::set<std::string, std::less<>>;

// The answers of cpuid and xgetbv that decide about features. For AArch64: arm_features.h.
struct ProcessorRegisters {
  uint32_t leaf_1_ecx = 0;
  uint32_t leaf_7_ebx = 0;
  uint32_t leaf_7_edx = 0;
  uint32_t leaf_7_1_eax = 0;
  uint64_t xcr0 = 0;  // registers that the operating system saves; 0 where it does not say
};
// Returns the features that the processor has and the operating system lets programs use. A
// hypervisor that masks instructions does it in either place.
Features usable_features(const ProcessorRegisters& registers);

struct KernelSet {
  std::string_view name;  // as OPENBLAS_CORETYPE takes it and openblas_get_corename() gives it
  std::vector<std::string_view> needs;
  // False: runs only where a job or OPENBLAS_CORETYPE names it, since another set computes fp32 as
  // fast and is in more builds of the library.
  bool automatic = true;
};
// Returns all sets, the best first; those that are not automatic come last.
std::span<const KernelSet> kernel_sets();
// Finds a set by its name in any case; null when there is none.
const KernelSet* find_kernel_set(std::string_view name);
// Returns all their names: "SkylakeX, Haswell, ...".
std::string kernel_set_names();

// Returns the needs of a set that a processor lacks; empty: it runs there.
std::vector<std::string> missing_features(const KernelSet& set, const Features& features);
// Returns the names of the sets that run on a processor, in the order of kernel_sets().
std::vector<std::string> runnable_kernel_sets(const Features& features);

}  // namespace leasehold::blas
