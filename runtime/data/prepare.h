// `leasehold prepare`: text, JSON lines and foreign token files to token files, in memory that does
// not grow with the input, on as many threads as are given. docs/data.md is for users.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/data/prepare_sources.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

inline constexpr int kMaxPrepareThreads = 1024;

struct PrepareOptions {
  std::vector<std::string> inputs;  // paths; "-": standard input
  std::string output_dir;
  PrepareFormat format = PrepareFormat::kAuto;  // of every input
  double validation_fraction = 0.05;            // in [0, 1)
  int64_t chunk_bytes = int64_t{1} << 20;       // how much text is read and encoded at a time
  int num_threads = 1;                          // at most kMaxPrepareThreads; changes no token
  const std::atomic<bool>* stopped =
      nullptr;                          // looked at between chunks; when it turns true, kDrained
  std::string field = "text";           // of documents: a name, or names joined by dots
  int64_t most_bad_lines = 0;           // of JSON lines, that are left out instead of refused
  bool begin_documents = false;         // puts the tokenizer's beginning_of_document() before each
  bool end_documents = true;            // puts the tokenizer's end_of_document() after each
  bool document_options_given = false;  // the user's own words: then some input must have documents
  // Told what the user should know of an input, a line each; on the caller's thread.
  std::function<void(const std::string&)> on_notice;
  // Told how many bytes of input are done, of how many; on the caller's thread. Packed files are
  // read twice, and count so.
  std::function<void(int64_t done_bytes, int64_t total_bytes)> on_progress;
};

struct PrepareSummary {
  int64_t input_bytes = 0;
  int64_t train_tokens = 0;
  int64_t validation_tokens = 0;
};

// Writes output_dir/train.bin, validation.bin and tokenizer.json, which replace what was there. The
// last `validation_fraction` of each input, unpacked, is for validation, the rest for training: of
// text cut at a character of UTF-8, of JSON lines at a line, of Megatron's at a document, of other
// tokens at a token. With a fraction of 0 there is no validation.bin. A text is encoded as one; a
// document of JSON lines on its own, between the tokens that begin and end it; tokens are copied,
// each id checked against the tokenizer. Streams, and the rows of Parquet files, are copied to
// temporary files in output_dir first. All is written to temporaries, made
// durable, and renamed at the end: on an error none of the three has changed and no temporary is
// left. What the three replace is set aside until all of them are in place, and put back if one
// cannot be. Errors, each naming the file: kUsage (no inputs, fraction out of range, one dataset
// or standard input twice, a field where no input has fields), kMissingInput (no such input, or not
// readable), kBadData (an empty or damaged input, too little for validation), kStorage (unwritable
// output, disk full), kDrained.
Result<PrepareSummary> prepare_tokens(FileSystem& files, const Tokenizer& tokenizer,
                                      const PrepareOptions& options);

}  // namespace leasehold
