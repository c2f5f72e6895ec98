// The tokens that stand around documents: the one in front (BOS) and those that end one (EOS). A
// tokenizer's own file often does not name them; the files next to it do. What they said is kept as
// a note in front of tokenizer.json, so that it is known wherever that text travels.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct DocumentTokens {
  std::optional<int32_t> begin;  // stands in front of a document
  // The first one is put after a document. Generated text ends at any of them.
  std::vector<int32_t> ends;

  bool operator==(const DocumentTokens&) const = default;
};

// tokenizer.json taken apart.
struct NotedJson {
  std::string json;  // without the note: Hugging Face's own text, or ours
  std::optional<DocumentTokens> tokens;
};

// Returns `json` with a note of `tokens` in front of its first member. `json` must be an object
// that has one.
std::string add_document_tokens(std::string_view json, const DocumentTokens& tokens);

// Separates the note from the rest. Text without a note comes back as it is, whatever it holds.
// Hugging Face's library refuses a file with the note, so an export leaves it out. kBadData, naming
// `file`, for a note that add_document_tokens did not write.
Result<NotedJson> split_document_tokens(std::string_view text, const std::string& file);

// Fails with kBadData, naming `file`, when an id is not below `vocab`.
Status check_document_tokens(const DocumentTokens& tokens, int64_t vocab, const std::string& file);

}  // namespace leasehold
