// Byte-level BPE tokenizers: GPT-2's vocab.json + merges.txt, and Hugging Face's tokenizer.json as
// GPT-2, Llama 3 and their relatives have it. Text is cut at added tokens, then at bytes that are
// not UTF-8, then by the pre-tokenizer's patterns one after the other; within the pieces tokens
// merge.
//
// Where this differs from Hugging Face's library, on purpose: a byte that belongs to no UTF-8
// character is a piece of its own, so that any bytes come back (there text is Unicode, and such
// bytes have become U+FFFD before). As with its add_special_tokens=False the post-processor, which
// puts tokens around a text, is not run; added tokens that stand in the text are found, special or
// not.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/bpe_vocabulary.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool normalized = false;  // looked for after those that are not
  bool special = false;
};

// What the files of a byte-level BPE say.
struct BpeDescription {
  BpeSource source;
  std::vector<std::string> patterns;  // applied one after the other
  std::vector<AddedToken> added;
  std::string json;  // tokenizer.json as it was read; empty when it came from other files
};

// `root` is what `text` says; `file` is for messages. kBadData naming the place and the way out;
// what is not implemented (normalizers, other pre-tokenizers, dropout, ...) is named.
Result<BpeDescription> parse_huggingface_tokenizer(const nlohmann::json& root,
                                                   std::string_view text, const std::string& file);
// GPT-2's two files. A "<|endoftext|>" in the vocabulary is an added, special token.
Result<BpeDescription> parse_gpt2_files(std::string_view vocab_json, const std::string& vocab_file,
                                        std::string_view merges_txt,
                                        const std::string& merges_file);

// tokenizer.json for what came from GPT-2's two files and is a good vocabulary.
std::string write_huggingface_tokenizer(const BpeDescription& description);

// kBadData besides for a pattern by which a stream could not be cut anywhere: see
// Tokenizer::separable_prefix.
Result<std::unique_ptr<Tokenizer>> create_bpe_tokenizer(const BpeDescription& description,
                                                        const std::string& file);

}  // namespace leasehold
