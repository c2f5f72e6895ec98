// Reading the files of a byte-level BPE, and writing tokenizer.json from GPT-2's two.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "runtime/base/json_reader.h"
#include "runtime/data/bpe_tokenizer.h"
#include "runtime/data/split_pattern.h"

namespace leasehold {

namespace {

constexpr int kBpeJsonDepth = 32;
constexpr std::string_view kEndOfText = "<|endoftext|>";

using nlohmann::json;

Status not_implemented(const JsonCursor& at, const std::string& what) {
  return at.bad(what +
                " is not implemented; of Hugging Face's tokenizers leasehold reads byte-level BPE "
                "without normalizer, as GPT-2 and Llama 3 have it");
}

// Absent or null.
bool is_missing(const JsonCursor& object, std::string_view name) {
  return !object.has(name) || object.field(name).is_null();
}

Result<bool> flag(const JsonCursor& object, std::string_view name, bool missing) {
  if (is_missing(object, name)) return missing;
  return object.field(name).boolean();
}

Result<std::string> type_of(const JsonCursor& object) {
  if (object.is_null()) return std::string("null");
  if (!object.has("type")) return object.bad("an object with a \"type\" is expected");
  return object.field("type").string();
}

Status read_vocab(const JsonCursor& cursor, const json& value, BpeSource& source) {
  if (!value.is_object()) return cursor.bad("an object of tokens and ids is expected");
  source.vocab.reserve(value.size());
  for (const auto& [token, id] : value.items()) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT64_MAX)) {
      return cursor.bad(fmt::format("the id of '{}' is no integer", token));
    }
    source.vocab.emplace_back(token, id.get<int64_t>());
  }
  return ok_status();
}

// "left right" with exactly one space, neither side empty.
bool split_merge(std::string_view line, BpeSource::Merge& merge) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos) {
    return false;
  }
  merge.left = line.substr(0, space);
  merge.right = line.substr(space + 1);
  return true;
}

class HuggingFaceReader {
 public:
  HuggingFaceReader(const json& root, const std::string& file)
      : root_(root), top_(root, file), file_(file) {}

  Result<BpeDescription> run() {
    if (!root_.is_object()) return top_.bad("an object is expected");
    for (const char* name : {"truncation", "padding"}) {
      if (!is_missing(top_, name)) {
        return top_.field(name).bad("must be null: texts are neither cut nor filled up");
      }
    }
    if (!is_missing(top_, "normalizer")) {
      LEASEHOLD_ASSIGN_OR_RETURN(const std::string type, type_of(top_.field("normalizer")));
      return not_implemented(top_.field("normalizer"), fmt::format("the normalizer {}", type));
    }
    for (const char* name : {"model", "pre_tokenizer", "decoder"}) {
      if (!top_.has(name)) return top_.bad(fmt::format("the field '{}' is missing", name));
    }
    LEASEHOLD_RETURN_IF_ERROR(read_model(top_.field("model"), root_["model"]));
    LEASEHOLD_RETURN_IF_ERROR(read_pre_tokenizer(top_.field("pre_tokenizer")));
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string decoder, type_of(top_.field("decoder")));
    if (decoder != "ByteLevel") {
      return not_implemented(top_.field("decoder"), fmt::format("the decoder {}", decoder));
    }
    if (!is_missing(top_, "added_tokens")) {
      LEASEHOLD_RETURN_IF_ERROR(read_added(top_.field("added_tokens")));
    }
    return std::move(made_);
  }

 private:
  Status read_model(const JsonCursor& model, const json& value) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string type, type_of(model));
    if (type != "BPE") return not_implemented(model, fmt::format("the model {}", type));
    if (!is_missing(model, "dropout")) {
      LEASEHOLD_ASSIGN_OR_RETURN(const double dropout, model.field("dropout").number(0, 1));
      if (dropout != 0) return not_implemented(model.field("dropout"), "dropout");
    }
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (is_missing(model, name)) continue;
      LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, model.field(name).string());
      if (!text.empty()) return not_implemented(model.field(name), fmt::format("'{}'", text));
    }
    LEASEHOLD_ASSIGN_OR_RETURN(const bool byte_fallback, flag(model, "byte_fallback", false));
    if (byte_fallback) return not_implemented(model.field("byte_fallback"), "byte_fallback");
    LEASEHOLD_ASSIGN_OR_RETURN(made_.source.ignore_merges, flag(model, "ignore_merges", false));
    for (const char* name : {"vocab", "merges"}) {
      if (!model.has(name)) return model.bad(fmt::format("the field '{}' is missing", name));
    }
    LEASEHOLD_RETURN_IF_ERROR(read_vocab(model.field("vocab"), value["vocab"], made_.source));
    return read_merges(model.field("merges"), value["merges"]);
  }

  Status read_merges(const JsonCursor& merges, const json& value) {
    LEASEHOLD_RETURN_IF_ERROR(merges.expect_array());
    made_.source.merges.reserve(value.size());
    for (size_t i = 0; i < value.size(); ++i) {
      BpeSource::Merge merge;
      const json& entry = value[i];
      const bool pair =
          entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
      if (pair) {
        merge.left = entry[0].get<std::string>();
        merge.right = entry[1].get<std::string>();
      } else if (!entry.is_string() || !split_merge(entry.get_ref<const std::string&>(), merge)) {
        return merges.element(i).bad("a merge is \"left right\" or [\"left\", \"right\"]");
      }
      merge.place = fmt::format("{}: model.merges[{}]", file_, i);
      made_.source.merges.push_back(std::move(merge));
    }
    return ok_status();
  }

  // A ByteLevel, or a Sequence of Splits that ends in one.
  Status read_pre_tokenizer(const JsonCursor& cursor) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string type, type_of(cursor));
    if (type == "ByteLevel") return read_byte_level(cursor);
    if (type != "Sequence" || !cursor.has("pretokenizers")) {
      return not_implemented(cursor, fmt::format("the pre-tokenizer {}", type));
    }
    const JsonCursor parts = cursor.field("pretokenizers");
    LEASEHOLD_RETURN_IF_ERROR(parts.expect_array());
    for (size_t i = 0; i < parts.size(); ++i) {
      const JsonCursor part = parts.element(i);
      LEASEHOLD_ASSIGN_OR_RETURN(const std::string kind, type_of(part));
      const bool last = i + 1 == parts.size();
      if (kind == "Split" && !last) {
        LEASEHOLD_RETURN_IF_ERROR(read_split(part));
      } else if (kind == "ByteLevel" && last) {
        return read_byte_level(part);
      } else {
        return not_implemented(part, fmt::format("the pre-tokenizer {} in this place", kind));
      }
    }
    return not_implemented(parts, "an empty sequence");
  }

  Status read_byte_level(const JsonCursor& cursor) {
    // Hugging Face's own defaults.
    LEASEHOLD_ASSIGN_OR_RETURN(const bool prefix, flag(cursor, "add_prefix_space", true));
    if (prefix) return not_implemented(cursor, "add_prefix_space");
    LEASEHOLD_ASSIGN_OR_RETURN(const bool use_regex, flag(cursor, "use_regex", true));
    if (use_regex) made_.patterns.emplace_back(kGpt2Pattern);
    return ok_status();
  }

  Status read_split(const JsonCursor& cursor) {
    if (!cursor.has("pattern") || !cursor.has("behavior"))
      return cursor.bad("a Split has a \"pattern\" and a \"behavior\"");
    const JsonCursor pattern = cursor.field("pattern");
    LEASEHOLD_ASSIGN_OR_RETURN(const auto parts, pattern.string_map());
    if (parts.size() != 1 || !parts.contains("Regex"))
      return not_implemented(pattern, "a Split by anything but a \"Regex\"");
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string behavior, cursor.field("behavior").string());
    if (behavior != "Isolated")
      return not_implemented(cursor.field("behavior"), fmt::format("the behavior {}", behavior));
    LEASEHOLD_ASSIGN_OR_RETURN(const bool invert, flag(cursor, "invert", false));
    if (invert) return not_implemented(cursor.field("invert"), "invert");
    made_.patterns.push_back(parts.at("Regex"));
    return ok_status();
  }

  Status read_added(const JsonCursor& list) {
    LEASEHOLD_RETURN_IF_ERROR(list.expect_array());
    for (size_t i = 0; i < list.size(); ++i) {
      const JsonCursor entry = list.element(i);
      LEASEHOLD_RETURN_IF_ERROR(entry.expect_fields(
          {"id", "content"}, {"single_word", "lstrip", "rstrip", "normalized", "special"}));
      AddedToken token;
      LEASEHOLD_ASSIGN_OR_RETURN(token.id,
                                 entry.field("id").integer(0, BpeVocabulary::kMaxIds - 1));
      LEASEHOLD_ASSIGN_OR_RETURN(token.content, entry.field("content").string());
      if (token.content.empty()) return entry.bad("an added token must not be empty");
      for (const char* name : {"single_word", "lstrip", "rstrip"}) {
        LEASEHOLD_ASSIGN_OR_RETURN(const bool set, flag(entry, name, false));
        if (set) return not_implemented(entry.field(name), name);
      }
      LEASEHOLD_ASSIGN_OR_RETURN(token.special, flag(entry, "special", false));
      LEASEHOLD_ASSIGN_OR_RETURN(token.normalized, flag(entry, "normalized", !token.special));
      made_.added.push_back(std::move(token));
    }
    return ok_status();
  }

  const json& root_;
  JsonCursor top_;
  const std::string& file_;
  BpeDescription made_;
};

}  // namespace

std::string write_huggingface_tokenizer(const BpeDescription& description) {
  std::vector<std::pair<std::string, int64_t>> sorted = description.source.vocab;
  std::ranges::sort(sorted, {}, &std::pair<std::string, int64_t>::second);
  // Built whole: adding keys one by one would look through all before.
  using OrderedJson = nlohmann::ordered_json;
  OrderedJson::object_t entries;
  entries.reserve(sorted.size());
  for (const auto& [token, id] : sorted) {
    static_cast<OrderedJson::object_t::Container&>(entries).emplace_back(token, id);
  }
  const OrderedJson vocab = std::move(entries);
  OrderedJson merges = OrderedJson::array();
  for (const auto& merge : description.source.merges)
    merges.push_back(merge.left + " " + merge.right);
  OrderedJson added = OrderedJson::array();
  for (const AddedToken& token : description.added) {
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  const OrderedJson byte_level = {{"type", "ByteLevel"},
                                  {"add_prefix_space", false},
                                  {"trim_offsets", true},
                                  {"use_regex", true}};
  const OrderedJson whole = {{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", added},
                             {"normalizer", nullptr},
                             {"pre_tokenizer", byte_level},
                             {"post_processor", nullptr},
                             {"decoder", byte_level},
                             {"model",
                              {{"type", "BPE"},
                               {"dropout", nullptr},
                               {"unk_token", nullptr},
                               {"continuing_subword_prefix", nullptr},
                               {"end_of_word_suffix", nullptr},
                               {"fuse_unk", false},
                               {"byte_fallback", false},
                               {"ignore_merges", false},
                               {"vocab", vocab},
                               {"merges", merges}}}};
  return whole.dump() + "\n";
}

Result<BpeDescription> parse_huggingface_tokenizer(const json& root, std::string_view text,
                                                   const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(BpeDescription made, HuggingFaceReader(root, file).run());
  made.json = text;
  return made;
}

Result<BpeDescription> parse_gpt2_files(std::string_view vocab_json, const std::string& vocab_file,
                                        std::string_view merges_txt,
                                        const std::string& merges_file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const json vocab,
                             parse_strict_json(vocab_json, vocab_file, kBpeJsonDepth));
  BpeDescription made;
  LEASEHOLD_RETURN_IF_ERROR(read_vocab(JsonCursor(vocab, vocab_file), vocab, made.source));
  int64_t line_number = 0;
  while (!merges_txt.empty()) {
    const size_t end = std::min(merges_txt.find('\n'), merges_txt.size());
    std::string_view line = merges_txt.substr(0, end);
    merges_txt.remove_prefix(std::min(end + 1, merges_txt.size()));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    BpeSource::Merge merge;
    merge.place = fmt::format("{}: line {}", merges_file, line_number);
    if (!split_merge(line, merge)) {
      return error(Code::kBadData,
                   "{}: '{}' is no merge, which is two tokens with a space between; take the "
                   "tokenizer's files again, unchanged",
                   merge.place, line);
    }
    made.source.merges.push_back(std::move(merge));
  }
  made.patterns.emplace_back(kGpt2Pattern);
  for (const auto& [token, id] : made.source.vocab) {
    if (token == kEndOfText) made.added.push_back({id, token, false, true});
  }
  return made;
}

}  // namespace leasehold
