#include "runtime/data/find_document_tokens.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

using nlohmann::json;

constexpr std::array kBeginNames = {"<|begin_of_text|>",
                                    "<s>",
                                    "<\xEF\xBD\x9C"
                                    "begin\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
                                    "<bos>",
                                    "<|startoftext|>",
                                    "[BOS]"};
constexpr std::array kEndNames = {"<|endoftext|>",
                                  "<|end_of_text|>",
                                  "</s>",
                                  "<\xEF\xBD\x9C"
                                  "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
                                  "<eos>",
                                  "<|eos|>",
                                  "<|endofdoc|>",
                                  "<|end_of_document|>",
                                  "[EOS]"};
constexpr int kFolderJsonDepth = 64;

void add_end(DocumentTokens& tokens, int32_t id) {
  if (std::ranges::count(tokens.ends, id) == 0) tokens.ends.push_back(id);
}

const json& member(const json& object, const char* name) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(name);
  return found == object.end() ? kNull : *found;
}

std::optional<int32_t> as_id(const json& value, int64_t num_ids) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto id = value.get<uint64_t>();
  if (id >= static_cast<uint64_t>(num_ids)) return std::nullopt;
  return static_cast<int32_t>(id);
}

// Returns the id of a pair like ["</s>", 2].
std::optional<int32_t> pair_id(const json& pair, int64_t num_ids) {
  return pair.is_array() && pair.size() == 2 ? as_id(pair[1], num_ids) : std::nullopt;
}

// Reads a TemplateProcessing, such as "<s> $A </s>".
void read_template(const json& processor, int64_t num_ids, DocumentTokens& tokens) {
  const json& single = member(processor, "single");
  if (!single.is_array()) return;
  bool text_seen = false;
  for (const json& part : single) {
    if (!member(part, "Sequence").is_null()) text_seen = true;
    const std::string name = token_text(member(member(part, "SpecialToken"), "id"));
    if (name.empty()) continue;
    const json& ids = member(member(member(processor, "special_tokens"), name.c_str()), "ids");
    const auto id = ids.is_array() && ids.size() == 1 ? as_id(ids[0], num_ids) : std::nullopt;
    if (!id) continue;
    if (text_seen) {
      add_end(tokens, *id);
    } else if (!tokens.begin) {
      tokens.begin = id;
    }
  }
}

void read_post_processor(const json& processor, int64_t num_ids, DocumentTokens& tokens) {
  const std::string type = token_text(member(processor, "type"));
  if (type == "TemplateProcessing") read_template(processor, num_ids, tokens);
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    if (const auto id = pair_id(member(processor, "cls"), num_ids)) tokens.begin = id;
    if (const auto id = pair_id(member(processor, "sep"), num_ids)) add_end(tokens, *id);
  }
  const json& parts = member(processor, "processors");
  if (type != "Sequence" || !parts.is_array()) return;
  for (const json& part : parts) {
    if (member(part, "type") != "Sequence") read_post_processor(part, num_ids, tokens);
  }
}

// Returns true if an added token has this text.
bool is_added(const json& tokenizer, std::string_view content) {
  const json& added = member(tokenizer, "added_tokens");
  return added.is_array() && std::ranges::any_of(added, [&](const json& entry) {
           return member(entry, "content") == content;
         });
}

// Searches places 2 and 3 of the header's list, then 4 and 5.
class FolderSearch {
 public:
  FolderSearch(const TokenLookup& lookup, std::vector<std::string>& notices)
      : lookup_(lookup), notices_(notices) {}

  void read_names(const json& object, const std::string& file) {
    if (!object.is_object()) return;
    if (!begin_known_ && object.contains("bos_token")) {
      tokens_.begin = named(object["bos_token"], file, "bos_token");
      begin_known_ = tokens_.begin || object["bos_token"].is_null();
    }
    if (!tokens_.ends.empty()) return;
    if (const auto id = named(member(object, "eos_token"), file, "eos_token"))
      add_end(tokens_, *id);
  }

  void read_ids(const json& object, const std::string& file) {
    if (!begin_known_) tokens_.begin = numbered(member(object, "bos_token_id"), file);
    begin_known_ = begin_known_ || tokens_.begin;
    const json& ends = member(object, "eos_token_id");
    for (const json& end : ends.is_array() ? ends : json::array({ends})) {
      if (const auto id = numbered(end, file)) add_end(tokens_, *id);
    }
  }

  DocumentTokens finish(const DocumentTokens& own) {
    if (!begin_known_) tokens_.begin = own.begin;
    if (tokens_.ends.empty()) tokens_.ends = own.ends;
    return std::move(tokens_);
  }

 private:
  std::optional<int32_t> named(const json& value, const std::string& file, const char* member) {
    const std::string text = token_text(value);
    if (text.empty()) return std::nullopt;
    const auto id = lookup_.id_of(text);
    if (!id) {
      notices_.push_back(
          fmt::format("{}: {} is '{}', which the tokenizer lacks", file, member, text));
    }
    return id;
  }
  std::optional<int32_t> numbered(const json& value, const std::string& file) {
    const auto id = as_id(value, lookup_.num_ids);
    if (!id && value.is_number()) {
      notices_.push_back(fmt::format("{}: the id {} is not among the tokenizer's 0 to {}", file,
                                     value.dump(), lookup_.num_ids - 1));
    }
    return id;
  }

  const TokenLookup& lookup_;
  std::vector<std::string>& notices_;
  DocumentTokens tokens_;
  bool begin_known_ = false;
};

}  // namespace

std::string token_text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  const json& content = member(value, "content");
  return content.is_string() ? content.get<std::string>() : "";
}

DocumentTokens find_own_tokens(const json& tokenizer, const TokenLookup& lookup) {
  DocumentTokens tokens;
  read_post_processor(member(tokenizer, "post_processor"), lookup.num_ids, tokens);
  for (const char* name : kBeginNames) {
    if (!tokens.begin && is_added(tokenizer, name)) tokens.begin = lookup.id_of(name);
  }
  for (const char* name : kEndNames) {
    if (!tokens.ends.empty() || !is_added(tokenizer, name)) continue;
    if (const auto id = lookup.id_of(name)) add_end(tokens, *id);
  }
  return tokens;
}

Result<json> read_folder_json(FileSystem& files, const std::string& directory, const char* name) {
  const std::string path = join_path(directory, name);
  if (!files.exists(path)) return json();
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(files, path));
  LEASEHOLD_ASSIGN_OR_RETURN(json root, parse_strict_json(text, path, kFolderJsonDepth));
  if (!root.is_object()) return JsonCursor(root, path).bad("an object is expected");
  return root;
}

Result<DocumentTokens> find_tokens_around(FileSystem& files, const std::string& directory,
                                          const TokenLookup& lookup, const DocumentTokens& own,
                                          std::vector<std::string>& notices) {
  FolderSearch search(lookup, notices);
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    LEASEHOLD_ASSIGN_OR_RETURN(const json object, read_folder_json(files, directory, name));
    search.read_names(object, join_path(directory, name));
  }
  for (const char* name : {"generation_config.json", "config.json"}) {
    LEASEHOLD_ASSIGN_OR_RETURN(const json object, read_folder_json(files, directory, name));
    search.read_ids(object, join_path(directory, name));
  }
  return search.finish(own);
}

}  // namespace leasehold
