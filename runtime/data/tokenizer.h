// Text to token ids and back. A tokenizer is named, or its files are, in `leasehold prepare
// --tokenizer`, and it is described whole by the tokenizer.json that lies beside the tokens and
// inside every checkpoint. Thread-safe once made.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/status.h"
#include "runtime/data/document_tokens.h"

namespace leasehold {

struct ReferenceProgram;

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::string_view name() const = 0;
  virtual int64_t vocab_size() const = 0;  // ids are 0 .. vocab_size - 1
  // The tokens of any bytes; decode(encode(text)) is text, except what the tokenizer's own
  // normalisation changes and its vocabulary lacks. kBadData for a text that a tokenizer's own
  // pattern gives up on, or of more than max_text_bytes(); of a tokenizer that Hugging Face's
  // library runs also for what is not UTF-8, and kUnavailable when the library fails.
  virtual Result<std::vector<int32_t>> encode(std::string_view text) const = 0;
  // kBadData, naming position and id, when an id is not below vocab_size(); one that no token has
  // is no text. The bytes need not be valid UTF-8. See TokenStream for tokens that come one by one.
  virtual Result<std::string> decode(std::span<const int32_t> ids) const = 0;
  // The same for what stands behind a place where separable_prefix cut a text.
  virtual Result<std::vector<int32_t>> encode_rest(std::string_view rest) const {
    return encode(rest);
  }
  // How many leading bytes of `text` can be encoded now, whatever follows: encode(prefix) +
  // encode_rest(rest) is encode(whole). 0: read more first. For streams.
  virtual int64_t separable_prefix(std::string_view text) const = 0;
  // The longest text that encode takes.
  virtual int64_t max_text_bytes() const { return int64_t{1} << 30; }
  // Starts the process that encode and decode need, where they need one, and adds a notice that
  // names it. Without this call they start it themselves. kUnavailable, with the command that
  // installs it, where it is missing.
  virtual Status start() { return ok_status(); }
  // Returns the id of the token that is written like this ("</s>"), where the vocabulary has it.
  virtual std::optional<int32_t> token_id(std::string_view content) const = 0;

  // The token that ends a document, where one is known: what prepare puts after each.
  std::optional<int32_t> end_of_document() const {
    return tokens_.ends.empty() ? std::nullopt : std::optional<int32_t>(tokens_.ends.front());
  }
  // The token in front of a document, where one is known.
  std::optional<int32_t> beginning_of_document() const { return tokens_.begin; }
  // All tokens at which generated text ends; the first is end_of_document().
  std::span<const int32_t> end_tokens() const { return tokens_.ends; }
  const DocumentTokens& document_tokens() const { return tokens_; }
  // Names other tokens, which to_json keeps. Call it before threads share the tokenizer.
  void set_document_tokens(DocumentTokens tokens) { tokens_ = std::move(tokens); }

  // Returns the content of tokenizer.json, from which parse_tokenizer_json makes the same
  // tokenizer.
  std::string to_json() const;
  // Lines that the caller shows the user: what was passed over, and what runs elsewhere.
  const std::vector<std::string>& notices() const { return notices_; }
  void add_notice(std::string notice) { notices_.push_back(std::move(notice)); }

  // Names the tokens that follow from description() alone. to_json makes no note of them.
  void set_own_document_tokens(DocumentTokens tokens) {
    own_tokens_ = tokens;
    tokens_ = std::move(tokens);
  }

 protected:
  // Returns tokenizer.json without the note of document_tokens.h.
  virtual std::string description() const = 0;

 private:
  DocumentTokens own_tokens_, tokens_;
  std::vector<std::string> notices_;
};

// By name. kUsage, saying which exist, for an unknown one.
Result<std::unique_ptr<Tokenizer>> create_tokenizer(std::string_view name);
// Names for create_tokenizer.
std::vector<std::string_view> tokenizer_names();

// By name, or from files: a tokenizer.json (ours, or Hugging Face's), a SentencePiece *.model, or a
// directory that holds tokenizer.json, vocab.json with merges.txt, or tokenizer.model (looked for
// in this order). The files next to it name the tokens around documents (find_document_tokens.h). A
// tokenizer.json that is not implemented here is run by Hugging Face's library, in the python that
// `program` names, else LEASEHOLD_PYTHON; where there is none, the tokenizer.model next to it is
// taken if it has the same ids. kUsage when it is neither a name nor a path; kBadData, naming file
// and place, for bad files; kUnavailable, with the command that installs it, for a missing library.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(FileSystem& files,
                                                  const std::string& name_or_path);
Result<std::unique_ptr<Tokenizer>> load_tokenizer(FileSystem& files,
                                                  const std::string& name_or_path,
                                                  const ReferenceProgram& program);

// Ours, or Hugging Face's. `path` is for messages. Errors as those of load_tokenizer for files, but
// the library is not started, so that whoever does not encode can do without it: see
// Tokenizer::start.
Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json,
                                                        const std::string& path);
Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json,
                                                        const std::string& path,
                                                        const ReferenceProgram& program);
// The same without the library: kUnavailable, saying why, for what is left to it.
Result<std::unique_ptr<Tokenizer>> parse_native_tokenizer_json(std::string_view json,
                                                               const std::string& path);

}  // namespace leasehold
