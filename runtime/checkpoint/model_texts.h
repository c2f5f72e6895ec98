// The long texts of a run (tokenizer.json, the model's small files), which would make up most of a
// snapshot's description: descriptions name them by digest, and run.dir/texts/ holds them once.
#pragma once

#include <string>

#include "runtime/base/digest.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/checkpoint_info.h"

namespace leasehold {

CheckpointInfo without_texts(CheckpointInfo info);
// XXH3-128 over both.
Digest128 digest_of_texts(const CheckpointInfo& info);

// Writes run_dir/texts/<digest>.json, durably, unless it is there. kStorage; kBadData where a text
// is not UTF-8.
Status keep_texts(FileSystem& files, const std::string& run_dir, const CheckpointInfo& info);
// Returns what keep_texts wrote for that digest. kMissingInput; kBadData when it is damaged.
Result<std::string> read_texts(FileSystem& files, const std::string& run_dir,
                               const Digest128& digest);
// Puts what read_texts gave into `info`.
Status put_texts(const std::string& text, CheckpointInfo& info);

}  // namespace leasehold
