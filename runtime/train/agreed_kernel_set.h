// The ranks of a run compute by one kernel set (runtime/tensor/blas/kernel_sets.h), which every one
// of their processors runs: they agree on it before any of them opens the library. A run that goes
// on keeps the set that its checkpoints name.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

inline constexpr const char* kAnyKernelSet = "auto";  // device.cpu_kernels

// The set that the newest state of a run was computed with, as far as a rank has seen.
struct RecordedKernelSet {
  int64_t step = -1;       // -1: it has seen none
  std::string kernel_set;  // "": of a version that did not record it
  std::string path;        // of the checkpoint or snapshot
};

// What one rank says.
struct KernelSetOffer {
  std::string node;
  std::string processor;
  std::vector<std::string> sets;  // that it can use, best first; empty: the library chooses there
  bool pinned = false;            // by OPENBLAS_CORETYPE to the only one of `sets`
  std::vector<std::string> lacking;   // what its library turned out not to have
  std::string asked = kAnyKernelSet;  // device.cpu_kernels: "auto" or a set
  RecordedKernelSet recorded;
};

struct ChosenKernelSet {
  std::string kernel_set;  // "": the library's choice, where none is known
  std::string reason;      // in plain words, for people
};

// Pure. All ranks use what device.cpu_kernels names; with "auto", what the run was computed with,
// or if nothing is recorded the best of rank 0 that every rank can use. kBadConfig, naming rank,
// node, set and the way out: ranks were asked for different sets, a rank cannot use the one that
// was asked for, or the recorded one (with `may_change` the best common one is taken instead), or
// they have none in common.
Result<ChosenKernelSet> choose_kernel_set(std::span<const KernelSetOffer> offers, bool may_change);

// Opens the library with a set and returns the one that it then says it uses (blas::open_library).
using OpenKernelSet = std::function<Result<std::string>(const std::string& kernel_set)>;

// Collective; blocks. Chooses, opens the library on every rank, and chooses again where a rank's
// library lacks the set. The answer is the same on all ranks, but where no set is known: there it
// names what this rank's library chose.
Result<ChosenKernelSet> agree_on_kernel_set(KernelSetOffer mine, bool may_change,
                                            const OpenKernelSet& open, Communicator& world,
                                            Stream& stream, double timeout_s);

// Whether a state may be gone on with under `kernel_set`: kBadConfig, naming both and the way out,
// where it says that it was computed with another. "" on either side says nothing.
Status check_kernel_set(const std::string& recorded, const std::string& kernel_set);

}  // namespace leasehold
