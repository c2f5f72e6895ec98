// Converts text to token ids and back. `leasehold prepare --tokenizer` gives a tokenizer's name or
// its files. The tokenizer.json next to the tokens and in every checkpoint describes it completely.
// Thread-safe after construction.
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
  // Returns the tokens of any bytes. decode(encode(text)) is text, except for what the tokenizer's
  // own normalisation changes and its vocabulary lacks. kBadData for a text on which the
  // tokenizer's own pattern gives up, or of more than max_text_bytes(). If Hugging Face's library
  // runs the tokenizer: kBadData also for bytes that are not UTF-8, and kUnavailable if the library
  // fails.
  virtual Result<std::vector<int32_t>> encode(std::string_view text) const = 0;
  // Returns the text of tokens. kBadData, naming position and id, if an id is not below
  // vocab_size(). An id without a token has no text. The bytes need not be valid UTF-8. For tokens
  // that arrive one by one see TokenStream.
  virtual Result<std::string> decode(std::span<const int32_t> ids) const = 0;
  // Returns the tokens of the text after a place where separable_prefix cut.
  virtual Result<std::vector<int32_t>> encode_rest(std::string_view rest) const {
    return encode(rest);
  }
  // Returns how many leading bytes of `text` can be encoded now, whatever follows:
  // encode(prefix) + encode_rest(rest) is encode(whole). 0: read more first. For streams.
  virtual int64_t separable_prefix(std::string_view text) const = 0;
  // Returns the largest size of a text for encode.
  virtual int64_t max_text_bytes() const { return int64_t{1} << 30; }
  // Starts the process that encode and decode need, if any, and adds a notice that names it.
  // Without this call they start it themselves. kUnavailable, with the command that installs it, if
  // it is missing.
  virtual Status start() { return ok_status(); }
  // Returns the id of the token with this text ("</s>"), if the vocabulary has it.
  virtual std::optional<int32_t> token_id(std::string_view content) const = 0;

  // Returns the token that ends a document, if known; prepare puts it after each document.
  std::optional<int32_t> end_of_document() const {
    return tokens_.ends.empty() ? std::nullopt : std::optional<int32_t>(tokens_.ends.front());
  }
  // Returns the token in front of a document, if known.
  std::optional<int32_t> beginning_of_document() const { return tokens_.begin; }
  // Returns all tokens at which generated text ends; the first is end_of_document().
  std::span<const int32_t> end_tokens() const { return tokens_.ends; }
  const DocumentTokens& document_tokens() const { return tokens_; }
  // Sets other tokens, which to_json keeps. Must be called before threads share the tokenizer.
  void set_document_tokens(DocumentTokens tokens) { tokens_ = std::move(tokens); }

  // Returns the content of tokenizer.json, from which parse_tokenizer_json makes the same
  // tokenizer.
  std::string to_json() const;
  // Returns lines for the user: what was passed over, and what runs in another program.
  const std::vector<std::string>& notices() const { return notices_; }
  void add_notice(std::string notice) { notices_.push_back(std::move(notice)); }

  // Sets the tokens that follow from description() alone. to_json writes no note of them.
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

// Makes a tokenizer by name. kUsage, naming the existing ones, for an unknown name.
Result<std::unique_ptr<Tokenizer>> create_tokenizer(std::string_view name);
// Returns the names for create_tokenizer.
std::vector<std::string_view> tokenizer_names();

// Makes a tokenizer by name, or from files: a tokenizer.json (Leasehold's or Hugging Face's), a
// SentencePiece *.model, or a directory with tokenizer.json, vocab.json and merges.txt, or
// tokenizer.model (tried in this order). The files next to it name the tokens around documents
// (find_document_tokens.h). Hugging Face's library runs a tokenizer.json that Leasehold does not
// implement, in the Python that `program` or LEASEHOLD_PYTHON names. Without the library, the
// tokenizer.model next to it is used if it has the same ids. kUsage if the argument is neither a
// name nor a path; kBadData, naming file and place, for bad files; kUnavailable, with the command
// that installs it, for a missing library.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(FileSystem& files,
                                                  const std::string& name_or_path);
Result<std::unique_ptr<Tokenizer>> load_tokenizer(FileSystem& files,
                                                  const std::string& name_or_path,
                                                  const ReferenceProgram& program);

// Parses Leasehold's or Hugging Face's tokenizer.json. `path` is for messages. Fails like
// load_tokenizer does for files, but does not start the library, so that callers that do not encode
// need none: see Tokenizer::start.
Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json,
                                                        const std::string& path);
Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json,
                                                        const std::string& path,
                                                        const ReferenceProgram& program);
// Parses it without the library: kUnavailable, with the reason, if only the library can run it.
Result<std::unique_ptr<Tokenizer>> parse_native_tokenizer_json(std::string_view json,
                                                               const std::string& path);

}  // namespace leasehold
