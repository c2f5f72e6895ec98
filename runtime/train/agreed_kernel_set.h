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

// The set by which the newest state of a run was computed, as far as a rank has seen.
struct RecordedKernelSet {
  int64_t step = -1;       // -1: the rank has seen no state
  std::string kernel_set;  // "": written by a version that did not record it
  std::string path;        // of the checkpoint or snapshot
};

// One rank's part of the decision.
struct KernelSetOffer {
  std::string node;
  std::string processor;
  std::vector<std::string> sets;      // those it can use, best first; empty: its library chooses
  bool pinned = false;                // by OPENBLAS_CORETYPE to the only one of `sets`
  std::vector<std::string> lacking;   // sets that its library turned out not to have
  std::string asked = kAnyKernelSet;  // device.cpu_kernels: "auto" or a set
  RecordedKernelSet recorded;
};

struct ChosenKernelSet {
  std::string kernel_set;  // "": the library's choice, where none is known
  std::string reason;      // in plain words, for people
};

// Chooses the set of all ranks. Pure. It is the one that device.cpu_kernels names; with "auto" the
// recorded one, or if nothing is recorded the best of rank 0 that every rank can use. kBadConfig,
// naming rank, node, set and the way out, when ranks were asked for different sets, when a rank
// cannot use the set that was asked for or recorded (with `may_change` the best common one is taken
// instead of a recorded one), and when the ranks have no set in common.
Result<ChosenKernelSet> choose_kernel_set(std::span<const KernelSetOffer> offers, bool may_change);

// Opens the library with a set and returns the one that it then says it uses (blas::open_library).
using OpenKernelSet = std::function<Result<std::string>(const std::string& kernel_set)>;

// Chooses a set, opens the library with it on every rank, and chooses again where a rank's library
// lacks the set. Collective; blocks. The answer is the same on all ranks. Only where no set is
// known it names what this rank's library chose.
Result<ChosenKernelSet> agree_on_kernel_set(KernelSetOffer mine, bool may_change,
                                            const OpenKernelSet& open, Communicator& world,
                                            Stream& stream, double timeout_s);

// Fails with kBadConfig, naming both sets and the way out, when a state was recorded with another
// set than `kernel_set`. "" on either side says nothing.
Status check_kernel_set(const std::string& recorded, const std::string& kernel_set);

}  // namespace leasehold
