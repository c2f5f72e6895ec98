#include "runtime/data/vocab_merges.h"

#include <algorithm>
#include <array>
#include <map>

#include <nlohmann/json.hpp>

#include "runtime/data/find_document_tokens.h"
#include "runtime/data/split_pattern.h"

namespace leasehold {

namespace {

using nlohmann::json;

// A tokenizer's class in transformers, without "Fast" at the end, and the models that use it.
struct TokenizerClass {
  std::string_view name;
  std::string_view pattern;
  bool nfc = false;
  bool mask_strips = false;  // a mask_token that is plain text includes the space before it
  std::array<std::string_view, 6> model_types = {};
};
constexpr std::array kClasses = {
    TokenizerClass{"GPT2Tokenizer", kGpt2Pattern, false, false, {"gpt2", "gpt_neo", "gptj", "opt"}},
    TokenizerClass{
        "Qwen2Tokenizer", kQwen2Pattern, true, false, {"qwen2", "qwen2_moe", "qwen3", "qwen3_moe"}},
    TokenizerClass{"RobertaTokenizer", kGpt2Pattern, false, true, {"roberta"}},
    TokenizerClass{"BartTokenizer", kGpt2Pattern, false, true, {"bart"}},
    TokenizerClass{"LongformerTokenizer", kGpt2Pattern, false, true, {"longformer"}},
    TokenizerClass{"CodeGenTokenizer", kGpt2Pattern, false, false, {"codegen", "phi"}},
    TokenizerClass{"WhisperTokenizer", kGpt2Pattern, false, false, {"whisper"}},
};
constexpr std::array kSpecialNames = {"bos_token", "eos_token", "unk_token", "sep_token",
                                      "pad_token", "cls_token", "mask_token"};

bool is_set(const json& object, const char* name) {
  if (!object.is_object()) return false;
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::string known_classes() {
  std::string names;
  for (const TokenizerClass& one : kClasses)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", one.name);
  return names;
}

Result<const TokenizerClass*> find_class(const json& tokenizer_config, const json& config,
                                         const std::string& directory,
                                         std::vector<std::string>& notices) {
  for (const json* object : {&tokenizer_config, &config}) {
    const auto found = object->find("tokenizer_class");
    if (!object->is_object() || found == object->end() || !found->is_string()) continue;
    std::string name = found->get<std::string>();
    if (name.ends_with("Fast")) name.resize(name.size() - 4);
    const auto known = std::ranges::find(kClasses, name, &TokenizerClass::name);
    if (known != kClasses.end()) return &*known;
    return error(Code::kBadData,
                 "{}: tokenizer_class {} is not known for vocab.json and merges.txt (known: {}); "
                 "put its tokenizer.json there: in python, "
                 "transformers.AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) writes it",
                 join_path(directory, object == &config ? "config.json" : "tokenizer_config.json"),
                 name, known_classes());
  }
  const auto type = config.is_object() ? config.find("model_type") : config.end();
  for (const TokenizerClass& one : kClasses) {
    for (const std::string_view model : one.model_types) {
      if (!model.empty() && type != config.end() && *type == model) return &one;
    }
  }
  notices.push_back(
      fmt::format("no file names the class of the tokenizer: read as {}", kClasses.front().name));
  return &kClasses.front();
}

// A list of added tokens by text; the first entry for a text stays.
class AddedList {
 public:
  explicit AddedList(const BpeSource& source) {
    for (const auto& [token, id] : source.vocab) ids_.emplace(token, id);
  }

  // Reads "added_tokens_decoder": an object of ids with "content" and flags.
  Status read_decoder(const json& decoder, const std::string& file) {
    for (const auto& [id, entry] : decoder.items()) {
      const std::string content = token_text(entry);
      const bool digits = !id.empty() && id.size() < 9 &&
                          std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; });
      if (!digits || content.empty()) {
        return error(Code::kBadData, "{}: added_tokens_decoder.{} is no id with its \"content\"",
                     file, id);
      }
      if (is_set(entry, "single_word")) {
        return error(Code::kBadData,
                     "{}: single_word of '{}' is not implemented; put the tokenizer.json there",
                     file, content);
      }
      add({.id = std::stol(id),
           .content = content,
           .normalized = is_set(entry, "normalized"),
           .special = is_set(entry, "special"),
           .lstrip = is_set(entry, "lstrip"),
           .rstrip = is_set(entry, "rstrip")});
    }
    return ok_status();
  }

  // Reads added_tokens.json: an object of texts with ids.
  void read_ids(const json& added) {
    if (!added.is_object()) return;
    for (const auto& [content, id] : added.items()) {
      if (id.is_number_unsigned() && !content.empty())
        add({.id = id.get<int64_t>(), .content = content, .normalized = true});
    }
  }

  // Reads named tokens, which are special. Leaves out those to which no file gives an id.
  void read_names(const json& object, bool mask_strips, std::vector<std::string>& notices) {
    if (!object.is_object()) return;
    for (const char* name : kSpecialNames) {
      if (object.contains(name))
        add_named(object[name], mask_strips && name == std::string_view("mask_token"), notices);
    }
    const auto more = object.find("additional_special_tokens");
    if (more == object.end() || !more->is_array()) return;
    for (const json& value : *more) add_named(value, false, notices);
  }

  std::vector<AddedToken> take() {
    std::vector<AddedToken> list;
    for (auto& [content, token] : tokens_) list.push_back(std::move(token));
    std::ranges::sort(list, {}, &AddedToken::id);
    return list;
  }

 private:
  void add(AddedToken token) { tokens_.try_emplace(token.content, token); }

  void add_named(const json& value, bool strips, std::vector<std::string>& notices) {
    const std::string content = token_text(value);
    if (content.empty()) return;
    const auto before = tokens_.find(content);
    if (before != tokens_.end()) {
      before->second.special = true;
      return;
    }
    const auto id = ids_.find(content);
    if (id == ids_.end()) {
      notices.push_back(
          fmt::format("the special token '{}' has no id and is passed over", content));
      return;
    }
    add({.id = id->second,
         .content = content,
         .special = true,
         .lstrip = value.is_object() ? is_set(value, "lstrip") : strips,
         .rstrip = is_set(value, "rstrip")});
  }

  std::map<std::string, int64_t> ids_;
  std::map<std::string, AddedToken> tokens_;
};

Status check_config(const json& config, const std::string& file) {
  if (!is_set(config, "split_special_tokens")) return ok_status();
  return error(Code::kBadData, "{}: split_special_tokens is not implemented; set it to false",
               file);
}

}  // namespace

Result<VocabMerges> read_vocab_merges(FileSystem& files, const std::string& directory) {
  const std::string vocab_file = join_path(directory, "vocab.json");
  const std::string merges_file = join_path(directory, "merges.txt");
  const std::string config_file = join_path(directory, "tokenizer_config.json");
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string vocab, read_file(files, vocab_file));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string merges, read_file(files, merges_file));
  VocabMerges made;
  LEASEHOLD_ASSIGN_OR_RETURN(made.description,
                             parse_gpt2_files(vocab, vocab_file, merges, merges_file));
  LEASEHOLD_ASSIGN_OR_RETURN(const json tokenizer_config,
                             read_folder_json(files, directory, "tokenizer_config.json"));
  LEASEHOLD_ASSIGN_OR_RETURN(const json config, read_folder_json(files, directory, "config.json"));
  LEASEHOLD_ASSIGN_OR_RETURN(const json added,
                             read_folder_json(files, directory, "added_tokens.json"));
  LEASEHOLD_ASSIGN_OR_RETURN(const json map,
                             read_folder_json(files, directory, "special_tokens_map.json"));
  LEASEHOLD_RETURN_IF_ERROR(check_config(tokenizer_config, config_file));
  LEASEHOLD_ASSIGN_OR_RETURN(const TokenizerClass* known,
                             find_class(tokenizer_config, config, directory, made.notices));
  made.description.stages = {{.pattern = std::string(known->pattern)}};
  made.description.nfc = known->nfc;
  made.add_prefix_space = is_set(tokenizer_config, "add_prefix_space");
  AddedList list(made.description.source);
  if (tokenizer_config.is_object() && tokenizer_config.contains("added_tokens_decoder")) {
    LEASEHOLD_RETURN_IF_ERROR(
        list.read_decoder(tokenizer_config["added_tokens_decoder"], config_file));
  }
  list.read_ids(added);
  list.read_names(tokenizer_config, known->mask_strips, made.notices);
  list.read_names(map, known->mask_strips, made.notices);
  std::vector<AddedToken> tokens = list.take();
  for (AddedToken& token : made.description.added) {  // GPT-2's <|endoftext|>
    const bool named = std::ranges::count(tokens, token.content, &AddedToken::content) > 0;
    if (!named) tokens.push_back(token);
  }
  made.description.added = std::move(tokens);
  return made;
}

}  // namespace leasehold
