// `leasehold prepare`: text files to token files, in memory that does not grow with the text.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/log.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

struct PrepareOptions {
  std::vector<std::string> inputs;
  std::string output_dir;
  double validation_fraction = 0.05;       // in [0, 1)
  int64_t chunk_bytes = int64_t{1} << 20;  // how much text is read at a time
  const std::atomic<bool>* stopped =
      nullptr;  // looked at between chunks; when it turns true, kDrained
};

struct PrepareSummary {
  int64_t text_bytes = 0;
  int64_t train_tokens = 0;
  int64_t validation_tokens = 0;
};

// Writes output_dir/train.bin, validation.bin and tokenizer.json, which replace what was there. The
// last `validation_fraction` of each input, cut at a character of UTF-8, is for validation, the
// rest for training; with a fraction of 0 there is no validation.bin. All is written to
// temporaries, made durable, and renamed at the end: on an error none of the three has changed and
// no temporary is left, except that a failure of the renaming itself leaves none of the three
// rather than a mixture. Errors, each naming the file: kUsage (no inputs, fraction out of range),
// kMissingInput (no such input, or not readable), kBadData (an empty input, too little text for
// validation), kStorage (unwritable output, disk full), kDrained.
Result<PrepareSummary> prepare_tokens(FileSystem& files, const Tokenizer& tokenizer,
                                      const PrepareOptions& options, const Logger& logger);

}  // namespace leasehold
