#include "runtime/data/document_tokens.h"

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

constexpr std::string_view kNoteStart = "{\"leasehold_tokens\": ";
constexpr std::string_view kNoteEnd = "}, ";
constexpr int64_t kMaxNotedId = INT32_MAX;
constexpr int kNoteDepth = 4;

}  // namespace

std::string add_document_tokens(std::string_view json, const DocumentTokens& tokens) {
  const size_t open = json.find('{');
  const std::string begin = tokens.begin ? fmt::format("{}", *tokens.begin) : "null";
  return fmt::format("{}{{\"begin\": {}, \"ends\": [{}]{}{}", kNoteStart, begin,
                     fmt::join(tokens.ends, ", "), kNoteEnd, json.substr(open + 1));
}

Result<NotedJson> split_document_tokens(std::string_view text, const std::string& file) {
  if (!text.starts_with(kNoteStart)) return NotedJson{std::string(text), std::nullopt};
  const size_t end = text.find(kNoteEnd);
  if (end == std::string_view::npos)
    return error(Code::kBadData, "{}: leasehold_tokens has no end; take the file again", file);
  const std::string_view note = text.substr(kNoteStart.size(), end + 1 - kNoteStart.size());
  LEASEHOLD_ASSIGN_OR_RETURN(const auto root, parse_strict_json(note, file, kNoteDepth));
  const JsonCursor cursor(root, file);
  LEASEHOLD_RETURN_IF_ERROR(cursor.expect_fields({"begin", "ends"}));
  DocumentTokens tokens;
  if (!cursor.field("begin").is_null()) {
    LEASEHOLD_ASSIGN_OR_RETURN(const int64_t id, cursor.field("begin").integer(0, kMaxNotedId));
    tokens.begin = static_cast<int32_t>(id);
  }
  const JsonCursor ends = cursor.field("ends");
  LEASEHOLD_RETURN_IF_ERROR(ends.expect_array());
  for (size_t i = 0; i < ends.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const int64_t id, ends.element(i).integer(0, kMaxNotedId));
    tokens.ends.push_back(static_cast<int32_t>(id));
  }
  return NotedJson{"{" + std::string(text.substr(end + kNoteEnd.size())), std::move(tokens)};
}

Status check_document_tokens(const DocumentTokens& tokens, int64_t vocab, const std::string& file) {
  std::vector<int32_t> ids = tokens.ends;
  if (tokens.begin) ids.push_back(*tokens.begin);
  for (const int32_t id : ids) {
    if (id < vocab) continue;
    return error(Code::kBadData,
                 "{}: leasehold_tokens names the id {}, but the tokenizer's are 0 to {}; take the "
                 "file again",
                 file, id, vocab - 1);
  }
  return ok_status();
}

}  // namespace leasehold
