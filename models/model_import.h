// From another program's model to a checkpoint that a run can start from.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "models/describe.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/weights_checkpoint.h"

namespace leasehold {

struct ImportOptions {
  std::string input;   // what open_foreign_model takes
  std::string output;  // the checkpoint's directory, made by this
  // A tokenizer (as load_tokenizer takes it) instead of the folder's own; "none": the weights
  // alone.
  std::string tokenizer = {};
  std::string tag;  // unique among the programs that run now
  int64_t file_bytes = kWeightsFileBytes;
  const std::atomic<bool>* stopped = nullptr;  // kDrained soon after it becomes true
};

struct ImportSummary {
  ModelConfig config;
  int64_t num_parameters = 0;
  std::string tokenizer;                 // what became of it, for a person
  std::vector<std::string> passed_over;  // fields of config.json that change nothing
  std::vector<std::string> notices;      // further lines for a person
};

// Writes the weights as fp32 with zero moments at step 0, with the folder's tokenizer and its small
// files (models/companion_files.h). A folder without a tokenizer gives a checkpoint without one;
// one whose tokenizer Leasehold does not read, or whose text has ids that the model lacks, is an
// error. Holds one parameter, and 32 MiB. `output` is whole or not there. Errors of
// open_foreign_model, load_tokenizer and write_weights_checkpoint.
Result<ImportSummary> import_model(FileSystem& files, const ImportOptions& options);

}  // namespace leasehold
