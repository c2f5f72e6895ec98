// What `leasehold prepare` reads: the formats, how they are told apart, and how each becomes
// tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/thread_pool.h"
#include "runtime/data/token_writer.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

enum class PrepareFormat {
  kAuto,
  kText,       // the file is one text
  kJsonLines,  // an object with a "text" a line; each is a document
  kLlmc,       // tokens, see token_file.h
  kMegatron,   // tokens, see megatron_index.h
};

// "auto", "text", "jsonl", "llmc", "megatron"; kUsage for another name.
Result<PrepareFormat> parse_prepare_format(std::string_view name);

struct PrepareInput {
  PrepareFormat format = PrepareFormat::kText;
  std::string path;        // of Megatron's the .bin
  std::string index_path;  // of Megatron's the .idx
  int64_t size_bytes = 0;  // of `path`
};

// With kAuto by suffix and first bytes. kMissingInput (not there, not readable); kBadData (empty,
// compressed, a .bin or .idx of no known format).
Result<PrepareInput> detect_input(FileSystem& files, const std::string& path, PrepareFormat format);

// What the functions below share. Their errors name file and, of JSON lines, the line.
struct PrepareContext {
  FileSystem& files;
  const Tokenizer& tokenizer;
  ThreadPool& pool;
  int64_t chunk_bytes;
  double validation_fraction;
  // Told how many more bytes of input are done; an error ends the preparation.
  std::function<Status(int64_t)> advance;
  TokenWriter& train;
  TokenWriter& validation;
};

// Where the last `fraction` of `size` bytes or tokens begins.
int64_t fraction_cut(int64_t size, double fraction);

Status prepare_text(const PrepareInput& input, const PrepareContext& context);
Status prepare_json_lines(const PrepareInput& input, const PrepareContext& context);
Status prepare_llmc(const PrepareInput& input, const PrepareContext& context);
Status prepare_megatron(const PrepareInput& input, const PrepareContext& context);

}  // namespace leasehold
