// Byte-level BPE tokenizers: vocab.json + merges.txt, and Hugging Face's tokenizer.json as GPT-2,
// Llama 3, Qwen 2, DeepSeek, SmolLM and their relatives have it. Text is cut at added tokens, then
// normalized (NFC, where the file says so), then cut at bytes that are not UTF-8, then by the
// pre-tokenizer's patterns one after the other; within the pieces tokens merge.
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
#include "runtime/data/text_splitter.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

class JsonCursor;

struct AddedToken {
  int64_t id = 0;
  std::string content;
  bool normalized = false;  // looked for after those that are not, in normalized text
  bool special = false;
  bool lstrip = false;  // takes the white space on its left with it
  bool rstrip = false;  // and on its right
};

// The contents of a byte-level BPE's files.
struct BpeDescription {
  BpeSource source;
  bool nfc = false;                // the normalizer
  std::vector<SplitStage> stages;  // applied one after the other
  std::vector<AddedToken> added;
  std::string json;  // tokenizer.json as it was read; empty when it came from other files
};

// Reads a tokenizer.json: `root` is the parsed `text`; `file` is for messages. kBadData naming the
// place and the way out. kUnavailable, naming it, for what only Hugging Face's own library reads:
// other models and normalizers, prefix spaces, ...
Result<BpeDescription> parse_huggingface_tokenizer(const nlohmann::json& root,
                                                   std::string_view text, const std::string& file);
// Reads the two files, with GPT-2's pattern. A "<|endoftext|>" in the vocabulary is an added,
// special token.
Result<BpeDescription> parse_gpt2_files(std::string_view vocab_json, const std::string& vocab_file,
                                        std::string_view merges_txt,
                                        const std::string& merges_file);

// Writes a tokenizer.json for what came from the two files and is a good vocabulary. With
// `add_prefix_space`, which only the library does, a space is put in front of a text.
std::string write_huggingface_tokenizer(const BpeDescription& description,
                                        bool add_prefix_space = false);

// Makes the tokenizer. kBadData for a damaged vocabulary. kUnavailable for what the library alone
// does: a byte without a token, patterns that PCRE2 reads otherwise or by which a stream could not
// be cut anywhere (see Tokenizer::separable_prefix), added tokens over such places.
Result<std::unique_ptr<Tokenizer>> create_bpe_tokenizer(const BpeDescription& description,
                                                        const std::string& file);

// For the readers of both kinds of files. Reads `value`, which must be an object of tokens and ids.
Status read_bpe_vocab(const JsonCursor& cursor, const nlohmann::json& value, BpeSource& source);
// Reads "left right" with exactly one space, neither side empty; returns false for other lines.
bool split_bpe_merge(std::string_view line, BpeSource::Merge& merge);

}  // namespace leasehold
