// From a checkpoint to a Hugging Face folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

struct ExportOptions {
  std::string checkpoint;      // its directory, or a run.dir, of which the newest is taken
  std::string output;          // the folder, made by this
  std::string dtype = "fp32";  // or "bf16", to which weights are rounded, ties to even
  int64_t shard_bytes =
      5'000'000'000;  // a file's tensors have no more, but for a single larger one
  std::string tag;    // unique among the programs that run now
  const std::atomic<bool>* stopped = nullptr;  // kDrained soon after it becomes true
};

struct ExportSummary {
  std::string checkpoint;  // its directory
  int64_t num_files = 0;   // of weights
  int64_t num_tensors = 0;
  int64_t total_bytes = 0;  // of all tensors
  std::string tokenizer;    // what became of it, for a person
};

// Writes config.json and model.safetensors, or shards with their index, the checkpoint's tokenizer
// when it is one of Hugging Face's, and the files that came in with the model
// (models/companion_files.h). The digest of every weight is checked on the way. Holds one
// parameter, and 48 MiB. `output` is whole or not there (publish_directory). kUsage
// for options that cannot be, kMissingInput, kBadData for a damaged checkpoint, kStorage.
Result<ExportSummary> export_model(FileSystem& files, const ExportOptions& options);

}  // namespace leasehold
