// Writes a checkpoint as a Hugging Face folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

struct ExportOptions {
  std::string checkpoint;      // its directory, or a run.dir, whose newest checkpoint is taken
  std::string output;          // the folder, which the export makes
  std::string dtype = "fp32";  // or "bf16": weights are rounded, ties to even
  // Limit of a file's tensors; only a single larger tensor exceeds it.
  int64_t shard_bytes = 5'000'000'000;
  std::string tag;                             // unique among the programs that are running
  const std::atomic<bool>* stopped = nullptr;  // returns kDrained soon after it becomes true
};

struct ExportSummary {
  std::string checkpoint;  // its directory
  int64_t num_files = 0;   // of weights
  int64_t num_tensors = 0;
  int64_t total_bytes = 0;  // of all tensors
  std::string tokenizer;    // the outcome for the tokenizer, for people
};

// Writes config.json and model.safetensors, or shards with their index. Also writes the
// checkpoint's tokenizer, if it is one of Hugging Face's, and the files that were imported with the
// model (models/companion_files.h). Checks the digest of every weight on the way. Holds one
// parameter, and 48 MiB. `output` exists whole or not at all (publish_directory). kUsage for
// impossible options, kMissingInput, kBadData for a damaged checkpoint, kStorage.
Result<ExportSummary> export_model(FileSystem& files, const ExportOptions& options);

}  // namespace leasehold
