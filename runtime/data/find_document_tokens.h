// Searches for the tokens around documents. Each one comes from the first place that names a token
// that the tokenizer has:
//   1. the note in tokenizer.json (document_tokens.h), which ends the search
//   2. tokenizer_config.json: bos_token, eos_token; null says that there is no bos_token
//   3. special_tokens_map.json: the same
//   4. generation_config.json: bos_token_id, eos_token_id
//   5. config.json: the same
//   6. tokenizer.json's post-processor: the special token in front of a text, and the one after it
//   7. added tokens of well-known names (kBeginNames, kEndNames)
// Generated text also ends at all the eos_token_ids of 4 and 5.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "runtime/base/files.h"
#include "runtime/data/document_tokens.h"

namespace leasehold {

// The questions that a search asks about a tokenizer.
struct TokenLookup {
  std::function<std::optional<int32_t>(std::string_view)> id_of;
  int64_t num_ids = 0;
};

// Searches a tokenizer.json of Hugging Face's (6 and 7). A part of an unexpected form names
// nothing.
DocumentTokens find_own_tokens(const nlohmann::json& tokenizer, const TokenLookup& lookup);

// Searches the existing ones of the files in `directory` (2 to 5), then uses `own`. Adds a line to
// `notices` for a name or id that the tokenizer lacks. kBadData, naming the file, for a file that
// is not a JSON object.
Result<DocumentTokens> find_tokens_around(FileSystem& files, const std::string& directory,
                                          const TokenLookup& lookup, const DocumentTokens& own,
                                          std::vector<std::string>& notices);

// Reads a JSON file of a tokenizer's folder; null if it does not exist. kBadData if it is not an
// object.
Result<nlohmann::json> read_folder_json(FileSystem& files, const std::string& directory,
                                        const char* name);
// Returns the text of a token that is given by itself or by an object with "content"; empty if
// there is none.
std::string token_text(const nlohmann::json& value);

}  // namespace leasehold
