// Text to token ids and back. A tokenizer is named in `leasehold prepare --tokenizer NAME` and
// described whole by the tokenizer.json that lies beside the tokens and inside every checkpoint.
// New kinds are added to the table in tokenizer.cc. Thread-safe once made.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::string_view name() const = 0;
  virtual int64_t vocab_size() const = 0;  // ids are 0 .. vocab_size - 1
  // The tokens of any bytes; decode(encode(text)) is text.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  // kBadData, naming position and id, when an id is outside the vocabulary. The bytes need not be
  // valid UTF-8.
  virtual Result<std::string> decode(std::span<const int32_t> ids) const = 0;
  // How many leading bytes of `text` can be encoded now, whatever follows: encode(prefix) +
  // encode(rest) is encode(whole). 0: read more first. For streams.
  virtual int64_t separable_prefix(std::string_view text) const = 0;
  // The content of tokenizer.json, which parse_tokenizer_json gives back.
  virtual std::string to_json() const = 0;
};

// kUsage, saying which exist, for an unknown name.
Result<std::unique_ptr<Tokenizer>> create_tokenizer(std::string_view name);
// Names for create_tokenizer.
std::vector<std::string_view> tokenizer_names();

// `path` is for messages. kBadData when the text is no tokenizer description, or of a kind that
// this version lacks.
Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json,
                                                        const std::string& path);

}  // namespace leasehold
