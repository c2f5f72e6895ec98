// The tokens around documents: one in front (BOS), and those that end a document (EOS). A
// tokenizer's own file often does not name them, but the files next to it do. Their content is kept
// as a note in front of tokenizer.json, so that it travels with that text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct DocumentTokens {
  std::optional<int32_t> begin;  // put in front of a document
  // The first one is put after a document. Generated text ends at any of them.
  std::vector<int32_t> ends;

  bool operator==(const DocumentTokens&) const = default;
};

// A tokenizer.json, separated from its note.
struct NotedJson {
  std::string json;  // without the note: Hugging Face's own text, or Leasehold's
  std::optional<DocumentTokens> tokens;
};

// Returns `json` with a note of `tokens` before its first member. `json` must be an object with a
// member.
std::string add_document_tokens(std::string_view json, const DocumentTokens& tokens);

// Separates the note from the rest. Text without a note is returned unchanged, whatever it holds.
// Hugging Face's library refuses a file with the note, so an export removes it. kBadData, naming
// `file`, for a note that add_document_tokens did not write.
Result<NotedJson> split_document_tokens(std::string_view text, const std::string& file);

// Fails with kBadData, naming `file`, if an id is not below `vocab`.
Status check_document_tokens(const DocumentTokens& tokens, int64_t vocab, const std::string& file);

}  // namespace leasehold
