// From another program's model to a checkpoint that a run can start from.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "models/describe.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/weights_checkpoint.h"

namespace leasehold {

struct ImportOptions {
  std::string input;   // what open_foreign_model takes
  std::string output;  // the checkpoint's directory, made by this
  std::string tag;     // unique among the programs that run now
  int64_t file_bytes = kWeightsFileBytes;
  const std::atomic<bool>* stopped = nullptr;  // kDrained soon after it becomes true
};

struct ImportSummary {
  ModelConfig config;
  int64_t num_parameters = 0;
  std::string tokenizer;  // what became of it, for a person
};

// Writes the weights as fp32 with zero moments at step 0, and the folder's tokenizer when Leasehold
// reads it and the model has an id for each of its tokens. Holds one parameter, and 32 MiB.
// `output` is whole or not there. Errors of open_foreign_model and write_weights_checkpoint.
Result<ImportSummary> import_model(FileSystem& files, const ImportOptions& options);

}  // namespace leasehold
