// Reads the tokenizer.json of a byte-level BPE.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "runtime/base/json_reader.h"
#include "runtime/data/bpe_tokenizer.h"
#include "runtime/data/split_pattern.h"

namespace leasehold {

namespace {

using nlohmann::json;

Status not_native(const JsonCursor& at, const std::string& what) {
  return Status(Code::kUnavailable, at.bad(what + " is not implemented").message());
}

// Returns true for a member that is absent or null.
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

// Returns a regular expression that matches this text.
std::string quote_pattern(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    const bool plain = static_cast<uint8_t>(c) >= 0x80 || (c >= '0' && c <= '9') ||
                       (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c <= ' ';
    if (!plain) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

class HuggingFaceReader {
 public:
  HuggingFaceReader(const json& root, const std::string& file)
      : root_(root), top_(root, file), file_(file) {}

  Result<BpeDescription> run() {
    if (!root_.is_object()) return top_.bad("an object is expected");
    for (const char* name : {"model", "pre_tokenizer", "decoder"}) {
      if (!top_.has(name)) return top_.bad(fmt::format("the field '{}' is missing", name));
    }
    LEASEHOLD_RETURN_IF_ERROR(read_model(top_.field("model"), root_["model"]));
    if (top_.has("normalizer"))
      LEASEHOLD_RETURN_IF_ERROR(read_normalizer(top_.field("normalizer")));
    bool ends = false;
    LEASEHOLD_RETURN_IF_ERROR(read_pre_tokenizer(top_.field("pre_tokenizer"), ends));
    if (!ends) return not_native(top_.field("pre_tokenizer"), "a pre-tokenizer without ByteLevel");
    LEASEHOLD_RETURN_IF_ERROR(read_decoder(top_.field("decoder")));
    if (!is_missing(top_, "added_tokens")) {
      LEASEHOLD_RETURN_IF_ERROR(read_added(top_.field("added_tokens")));
    }
    return std::move(made_);
  }

 private:
  Status read_model(const JsonCursor& model, const json& value) {
    if (!value.is_object()) return model.bad("an object is expected");
    if (model.has("type") || !model.has("merges")) {  // old files do not name the type
      LEASEHOLD_ASSIGN_OR_RETURN(const std::string type, type_of(model));
      if (type != "BPE") return not_native(model, fmt::format("the model {}", type));
    }
    if (!is_missing(model, "dropout")) {
      LEASEHOLD_ASSIGN_OR_RETURN(const double dropout, model.field("dropout").number(0, 1));
      if (dropout != 0) {
        return model.field("dropout").bad(
            "with dropout a text has other tokens each time; set it to null");
      }
    }
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (is_missing(model, name)) continue;
      LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, model.field(name).string());
      if (!text.empty()) return not_native(model.field(name), fmt::format("'{}'", text));
    }
    LEASEHOLD_ASSIGN_OR_RETURN(const bool byte_fallback, flag(model, "byte_fallback", false));
    if (byte_fallback) return not_native(model.field("byte_fallback"), "byte_fallback");
    LEASEHOLD_ASSIGN_OR_RETURN(made_.source.ignore_merges, flag(model, "ignore_merges", false));
    for (const char* name : {"vocab", "merges"}) {
      if (!model.has(name)) return model.bad(fmt::format("the field '{}' is missing", name));
    }
    LEASEHOLD_RETURN_IF_ERROR(read_bpe_vocab(model.field("vocab"), value["vocab"], made_.source));
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
      } else if (!entry.is_string() ||
                 !split_bpe_merge(entry.get_ref<const std::string&>(), merge)) {
        return merges.element(i).bad("a merge is \"left right\" or [\"left\", \"right\"]");
      }
      merge.place = fmt::format("{}: model.merges[{}]", file_, i);
      made_.source.merges.push_back(std::move(merge));
    }
    return ok_status();
  }

  // Reads null, NFC, or a Sequence of NFC.
  Status read_normalizer(const JsonCursor& cursor) {
    if (cursor.is_null()) return ok_status();
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string type, type_of(cursor));
    if (type == "NFC") {
      made_.nfc = true;
      return ok_status();
    }
    if (type != "Sequence" || !cursor.has("normalizers"))
      return not_native(cursor, fmt::format("the normalizer {}", type));
    const JsonCursor parts = cursor.field("normalizers");
    LEASEHOLD_RETURN_IF_ERROR(parts.expect_array());
    for (size_t i = 0; i < parts.size(); ++i)
      LEASEHOLD_RETURN_IF_ERROR(read_normalizer(parts.element(i)));
    return ok_status();
  }

  // Reads Splits and Digits, then a ByteLevel, which sets `ends`; also inside Sequences.
  Status read_pre_tokenizer(const JsonCursor& cursor, bool& ends) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string type, type_of(cursor));
    if (type == "Sequence" && cursor.has("pretokenizers")) {
      const JsonCursor parts = cursor.field("pretokenizers");
      LEASEHOLD_RETURN_IF_ERROR(parts.expect_array());
      for (size_t i = 0; i < parts.size(); ++i)
        LEASEHOLD_RETURN_IF_ERROR(read_pre_tokenizer(parts.element(i), ends));
      return ok_status();
    }
    if (!ends && type == "Split") return read_split(cursor);
    if (!ends && type == "Digits") {
      LEASEHOLD_ASSIGN_OR_RETURN(const bool single, flag(cursor, "individual_digits", false));
      made_.stages.push_back({.pattern = single ? "\\p{N}" : "\\p{N}+"});
      return ok_status();
    }
    if (!ends && type == "ByteLevel") {
      ends = true;
      return read_byte_level(cursor);
    }
    return not_native(cursor, fmt::format("the pre-tokenizer {} in this place", type));
  }

  Status read_byte_level(const JsonCursor& cursor) {
    // These defaults are Hugging Face's.
    LEASEHOLD_ASSIGN_OR_RETURN(const bool prefix, flag(cursor, "add_prefix_space", true));
    if (prefix) return not_native(cursor, "add_prefix_space");
    LEASEHOLD_ASSIGN_OR_RETURN(const bool use_regex, flag(cursor, "use_regex", true));
    if (use_regex) made_.stages.push_back({.pattern = std::string(kGpt2Pattern)});
    return ok_status();
  }

  Status read_split(const JsonCursor& cursor) {
    if (!cursor.has("pattern") || !cursor.has("behavior"))
      return cursor.bad("a Split has a \"pattern\" and a \"behavior\"");
    SplitStage stage;
    const JsonCursor pattern = cursor.field("pattern");
    LEASEHOLD_ASSIGN_OR_RETURN(const auto parts, pattern.string_map());
    if (parts.size() == 1 && parts.contains("Regex")) {
      stage.pattern = parts.at("Regex");
    } else if (parts.size() == 1 && parts.contains("String") && !parts.at("String").empty()) {
      stage.pattern = quote_pattern(parts.at("String"));
    } else {
      return not_native(pattern, "a Split by anything but a \"Regex\" or a \"String\"");
    }
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string behavior, cursor.field("behavior").string());
    const auto known = parse_split_behavior(behavior);
    if (!known)
      return not_native(cursor.field("behavior"), fmt::format("the behavior {}", behavior));
    stage.behavior = *known;
    LEASEHOLD_ASSIGN_OR_RETURN(stage.invert, flag(cursor, "invert", false));
    made_.stages.push_back(std::move(stage));
    return ok_status();
  }

  // Reads a ByteLevel, also as the only member of a Sequence.
  static Status read_decoder(const JsonCursor& cursor) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string type, type_of(cursor));
    if (type == "ByteLevel") return ok_status();
    if (type == "Sequence" && cursor.has("decoders")) {
      const JsonCursor parts = cursor.field("decoders");
      LEASEHOLD_RETURN_IF_ERROR(parts.expect_array());
      if (parts.size() == 1) return read_decoder(parts.element(0));
    }
    return not_native(cursor, fmt::format("the decoder {}", type));
  }

  Status read_added(const JsonCursor& list) {
    LEASEHOLD_RETURN_IF_ERROR(list.expect_array());
    for (size_t i = 0; i < list.size(); ++i) {
      const JsonCursor entry = list.element(i);
      if (!entry.has("id") || !entry.has("content"))
        return entry.bad("an added token has an \"id\" and a \"content\"");
      AddedToken token;
      LEASEHOLD_ASSIGN_OR_RETURN(token.id,
                                 entry.field("id").integer(0, BpeVocabulary::kMaxIds - 1));
      LEASEHOLD_ASSIGN_OR_RETURN(token.content, entry.field("content").string());
      if (token.content.empty()) return entry.bad("an added token must not be empty");
      LEASEHOLD_ASSIGN_OR_RETURN(const bool single_word, flag(entry, "single_word", false));
      if (single_word) return not_native(entry.field("single_word"), "single_word");
      LEASEHOLD_ASSIGN_OR_RETURN(token.lstrip, flag(entry, "lstrip", false));
      LEASEHOLD_ASSIGN_OR_RETURN(token.rstrip, flag(entry, "rstrip", false));
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

Result<BpeDescription> parse_huggingface_tokenizer(const json& root, std::string_view text,
                                                   const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(BpeDescription made, HuggingFaceReader(root, file).run());
  made.json = text;
  return made;
}

}  // namespace leasehold
