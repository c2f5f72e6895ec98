// Turns another program's model into a checkpoint that a run can start from.
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
  std::string input;   // a path for open_foreign_model
  std::string output;  // the checkpoint's directory, which the import makes
  // A tokenizer (in a form that load_tokenizer takes) instead of the folder's own. "none": only the
  // weights.
  std::string tokenizer = {};
  std::string tag;  // unique among the programs that are running
  int64_t file_bytes = kWeightsFileBytes;
  const std::atomic<bool>* stopped = nullptr;  // returns kDrained soon after it becomes true
};

struct ImportSummary {
  ModelConfig config;
  int64_t num_parameters = 0;
  std::string tokenizer;                 // the outcome for the tokenizer, for people
  std::vector<std::string> passed_over;  // fields of config.json that change nothing
  std::vector<std::string> notices;      // further lines for people
};

// Writes the weights as fp32, with zero moments at step 0, together with the folder's tokenizer and
// its small files (models/companion_files.h). A folder without a tokenizer gives a checkpoint
// without one. It is an error if Leasehold cannot read the tokenizer, or if the tokenizer produces
// ids that the model lacks. Holds one parameter, and 32 MiB. `output` exists whole or not at all.
// Fails with the errors of open_foreign_model, load_tokenizer and write_weights_checkpoint.
Result<ImportSummary> import_model(FileSystem& files, const ImportOptions& options);

}  // namespace leasehold
