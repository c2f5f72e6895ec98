// What `leasehold prepare` reads: the formats, how they are told apart, and how each becomes
// tokens. docs/data.md is for users.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/thread_pool.h"
#include "runtime/data/token_writer.h"
#include "runtime/data/tokenizer.h"
#include "runtime/data/unpacker.h"

namespace leasehold {

enum class PrepareFormat {
  kAuto,
  kText,       // the file is one text, in UTF-8
  kBytes,      // the file is one text, whatever its bytes
  kJsonLines,  // an object a line, with a document in a field
  kParquet,    // a table with a document a row, in a column
  kLlmc,       // tokens, see token_file.h
  kMegatron,   // tokens, see megatron_index.h
  kUint16,     // tokens and nothing else, as nanoGPT writes them
  kUint32,
};

// "auto", "text", "bytes", "jsonl", "parquet", "llmc", "megatron", "uint16", "uint32"; kUsage for
// another name.
Result<PrepareFormat> parse_prepare_format(std::string_view name);

// Returns true when inputs of the format are made of documents with fields.
bool has_documents(PrepareFormat format);

struct PrepareInput {
  PrepareFormat format = PrepareFormat::kText;
  std::string path;                // of Megatron's the .bin
  std::string name;                // for messages: the path; of a stream that was copied its own
  std::string index_path;          // of Megatron's the .idx
  int64_t size_bytes = 0;          // of `path`
  std::optional<Packing> packing;  // of text, bytes and JSON lines
  std::string notice;              // one line for the user; empty: none
};

// With kAuto by suffix and first bytes, of packed files by those of what they hold. `name` is the
// input's for messages and by suffix. kMissingInput (not there, not readable); kBadData, by name
// and with the way out, for what is empty, stands in for a file that was not fetched, is no text in
// UTF-8, or is a .bin or .idx of no known format.
Result<PrepareInput> detect_input(FileSystem& files, const std::string& path,
                                  const std::string& name, PrepareFormat format);

// The values that the functions below share. Their errors name file and, of text, line or offset.
struct PrepareContext {
  FileSystem& files;
  const Tokenizer& tokenizer;
  ThreadPool& pool;
  int64_t chunk_bytes;
  double validation_fraction;
  std::string field;  // of documents: a name, or names joined by dots
  // Around each document.
  std::optional<int32_t> begin_token;
  std::optional<int32_t> end_token;
  // Told of a line or row that is no document, in order; returns ok where it may be left out.
  std::function<Status(const Status& bad_line)> leave_out;
  // Told how many more bytes of input are done; an error ends the preparation.
  std::function<Status(int64_t)> advance;
  TokenWriter& train;
  TokenWriter& validation;
};

// Returns the bytes of input that `advance` is told of in all.
int64_t progress_bytes(const PrepareInput& input, double validation_fraction);

// Where the last `fraction` of `size` bytes or tokens begins.
int64_t fraction_cut(int64_t size, double fraction);

Status prepare_text(const PrepareInput& input, const PrepareContext& context);
// Also of Parquet, whose path is that of its rows as JSON lines by then.
Status prepare_json_lines(const PrepareInput& input, const PrepareContext& context);
Status prepare_llmc(const PrepareInput& input, const PrepareContext& context);
Status prepare_megatron(const PrepareInput& input, const PrepareContext& context);
// For kUint16 and kUint32.
Status prepare_plain_tokens(const PrepareInput& input, const PrepareContext& context);

// Appends the tokens of the document in one line of JSON lines, with those around it. A line of
// white space has none. kBadData, with the column or the fields that there are, but neither file
// nor line. Thread-safe.
Status encode_json_line(std::string_view line, const PrepareContext& context,
                        std::vector<int32_t>& out);

}  // namespace leasehold
