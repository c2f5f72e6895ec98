// What a checkpoint says of itself besides its pieces: where the run stands, whose history it is,
// and the settings under which alone the next step would be the same one.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "runtime/base/status.h"

namespace leasehold {

struct CheckpointInfo {
  int64_t step = 0;  // optimizer steps done
  uint64_t seed = 0;
  // Steps among them that changed no weights, since their loss or norm was not finite; and how many
  // of these were the newest ones, in a row.
  int64_t num_skipped = 0;
  int64_t num_skipped_in_row = 0;
  uint64_t data_position = 0;  // global index of the next training sample
  std::string lineage;         // names the run's history; a fork starts a new one
  std::string parent_lineage;  // of a fork: the history it left; else empty
  int64_t fork_step = 0;       // of a fork: the step at which it left
  int64_t generation = 0;
  // Identity keys (job file key -> value as text): a resume under others is refused.
  std::map<std::string, std::string> identity;
  // The model's description (family and sizes) and the tokenizer, so that a checkpoint can be
  // sampled from on its own.
  std::map<std::string, std::string> model;
  std::string tokenizer_json;  // content of tokenizer.json, or empty
  // Small text files of the model's folder elsewhere, by name, which an export writes again
  // (models/companion_files.h). Empty for a model that Leasehold made.
  std::map<std::string, std::string> model_files;
  std::string arithmetic_class;  // digest of the job's operations on fixed inputs, see
                                 // train/arithmetic_class.h
  // Which algorithm each matrix product is computed by, as text (tensor/algorithm_choices.h); empty
  // where there is no choice (CPUs).
  std::string algorithms;
  // The kernel set of OpenBLAS by which the state was computed (tensor/blas/kernel_sets.h); empty
  // where another library computes products, or in what an older program wrote.
  std::string cpu_kernels;
  // The step's line of metrics.jsonl, without what validation adds: a run that was stopped between
  // the step and its validation still writes the line. Empty at step 0.
  std::string metrics_line;

  bool operator==(const CheckpointInfo&) const = default;
};

// 32 hexadecimal digits from the system's source of randomness: names a history that starts now.
std::string new_lineage();

// The lineage of a run that goes on from `from` under other settings: a new name, with the one it
// left and the step.
void start_fork(CheckpointInfo& info, const CheckpointInfo& from);

// Copies the tokenizer and the model's files from `from`, the state that `info` continues. A run on
// data with a tokenizer of its own keeps that one. The files then belong to another vocabulary and
// are left out, unless the two tokenizers are the same (`same_tokenizer`). Returns true when files
// were left out.
bool inherit_model_files(CheckpointInfo& info, const CheckpointInfo& from, bool same_tokenizer);

// kBadConfig, listing each key that differs with its old and new value and saying that --fork
// starts a new lineage, unless the job's identity is the checkpoint's.
Status check_identity(const CheckpointInfo& checkpoint,
                      const std::map<std::string, std::string>& job);

}  // namespace leasehold
