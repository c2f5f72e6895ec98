// Byte-level BPE tokenizers: vocab.json + merges.txt, and Hugging Face's tokenizer.json in the form
// of GPT-2, Llama 3, Qwen 2, DeepSeek, SmolLM and their relatives. A text is cut at added tokens,
// then normalized (NFC, if the file says so), then cut at bytes that are not UTF-8, then by the
// pre-tokenizer's patterns one after another. Within the pieces tokens merge.
//
// This differs from Hugging Face's library on purpose: a byte that belongs to no UTF-8 character is
// a piece of its own, so that decoding restores any bytes. (The library works on Unicode, where
// such bytes have already become U+FFFD.) As with the library's add_special_tokens=False, the
// post-processor, which puts tokens around a text, does not run. Added tokens in the text are
// found, special or not.
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
  bool normalized = false;  // searched for after the others, in normalized text
  bool special = false;
  bool lstrip = false;  // includes the white space on its left
  bool rstrip = false;  // includes the white space on its right
};

// The content of a byte-level BPE's files.
struct BpeDescription {
  BpeSource source;
  bool nfc = false;                // the normalizer
  std::vector<SplitStage> stages;  // applied one after another
  std::vector<AddedToken> added;
  std::string json;  // the tokenizer.json as read; empty if other files were read
};

// Reads a tokenizer.json: `root` is the parsed `text`, and `file` is for messages. kBadData, naming
// the place and the way out. kUnavailable, naming it, for anything that only Hugging Face's own
// library can do: other models and normalizers, prefix spaces, ...
Result<BpeDescription> parse_huggingface_tokenizer(const nlohmann::json& root,
                                                   std::string_view text, const std::string& file);
// Reads the two files, with GPT-2's pattern. If the vocabulary has "<|endoftext|>", that is an
// added, special token.
Result<BpeDescription> parse_gpt2_files(std::string_view vocab_json, const std::string& vocab_file,
                                        std::string_view merges_txt,
                                        const std::string& merges_file);

// Writes a tokenizer.json for a description from the two files with a good vocabulary. With
// `add_prefix_space`, a space is put in front of a text; only the library does that.
std::string write_huggingface_tokenizer(const BpeDescription& description,
                                        bool add_prefix_space = false);

// Makes the tokenizer. kBadData for a damaged vocabulary. kUnavailable for anything that only the
// library can do: a byte without a token, patterns that PCRE2 reads in another way or that leave no
// place to cut a stream (see Tokenizer::separable_prefix), added tokens over such places.
Result<std::unique_ptr<Tokenizer>> create_bpe_tokenizer(const BpeDescription& description,
                                                        const std::string& file);

// Reads `value`, which must be an object of tokens and ids. For the readers of both kinds of files.
Status read_bpe_vocab(const JsonCursor& cursor, const nlohmann::json& value, BpeSource& source);
// Parses "left right" with exactly one space and neither side empty. Returns false for other lines.
bool split_bpe_merge(std::string_view line, BpeSource::Merge& merge);

}  // namespace leasehold
