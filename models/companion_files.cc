#include "models/companion_files.h"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "runtime/base/json_reader.h"
#include "runtime/data/base64.h"
#include "runtime/data/document_tokens.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kMaxCompanionBytes = int64_t{4} << 20;
constexpr int kCompanionDepth = 64;

constexpr const char* kGenerationConfig = "generation_config.json";
constexpr const char* kTokenizerConfig = "tokenizer_config.json";
constexpr const char* kTokenizerFiles[] = {kTokenizerConfig, "special_tokens_map.json",
                                           "added_tokens.json", "chat_template.jinja"};

Status check_companion(const std::string& name, const std::string& text, const std::string& path) {
  if (name.ends_with(".json")) {
    LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_strict_json(text, path, kCompanionDepth));
    return root.is_object() ? ok_status()
                            : error(Code::kBadData, "{}: an object is expected", path);
  }
  try {
    static_cast<void>(json(text).dump());
  } catch (const json::exception&) {
    return error(Code::kBadData, "{}: not UTF-8", path);
  }
  return ok_status();
}

// Returns the text of token `id` in a tokenizer.json; nullopt if the file names no such token.
std::optional<std::string> content_of(const json& tokenizer, const json& id) {
  if (!id.is_number_integer()) return std::nullopt;
  if (tokenizer.contains("added_tokens") && tokenizer["added_tokens"].is_array()) {
    for (const json& token : tokenizer["added_tokens"]) {
      if (token.is_object() && token.value("id", json()) == id && token.contains("content") &&
          token["content"].is_string()) {
        return token["content"].get<std::string>();
      }
    }
  }
  const json& model = tokenizer["model"];
  if (!model.contains("vocab") || !model["vocab"].is_object()) return std::nullopt;
  for (const auto& [content, known] : model["vocab"].items()) {
    if (known == id) return content;
  }
  return std::nullopt;
}

// Adds the names of tokens whose ids are in the model's own files.
void name_tokens(ordered_json& config, const json& tokenizer, const json& ids) {
  for (const char* kind : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
    const std::string id_name = std::string(kind) + "_id";
    if (config.contains(kind) || !ids.contains(id_name)) continue;
    const json& id = ids[id_name];
    const auto content = content_of(tokenizer, id.is_array() && !id.empty() ? id.front() : id);
    if (content) config[kind] = *content;
  }
}

// Makes tokenizer_config.json for transformers, based on the imported one, if any. `tokenizer` is
// null if the model has no tokenizer.json.
std::string tokenizer_config(const std::string& came_in, const json& tokenizer, const json& ids,
                             const ModelConfig& config) {
  ordered_json root = came_in.empty() ? ordered_json::object() : ordered_json::parse(came_in);
  // Version 5 has a name that version 4 lacks for the class that reads any tokenizer.json, and
  // lists tokens under a name that means something else in version 4.
  if (root.value("tokenizer_class", ordered_json()) == "TokenizersBackend")
    root["tokenizer_class"] = "PreTrainedTokenizerFast";
  ordered_json extra = root.value("extra_special_tokens", ordered_json());
  if (extra.is_array() && !root.contains("additional_special_tokens")) {
    root.erase("extra_special_tokens");
    root["additional_special_tokens"] = std::move(extra);
  }
  if (came_in.empty()) {
    if (tokenizer.is_object()) {
      root["tokenizer_class"] = "PreTrainedTokenizerFast";
      name_tokens(root, tokenizer, ids);
    }
    root["clean_up_tokenization_spaces"] = false;
    root["model_max_length"] = config.sequence;
  } else if (tokenizer.is_object() && !root.contains("tokenizer_class")) {
    root["tokenizer_class"] = "PreTrainedTokenizerFast";
  }
  root["model_input_names"] = {"input_ids", "attention_mask"};
  return root.dump(2) + "\n";
}

// Adds a checkpoint's tokenizer in Hugging Face's form, with its configuration.
Status add_tokenizer(const std::string& noted, const json& ids, const ModelConfig& config,
                     ExportedFiles& exported) {
  // Removes Leasehold's own note, which the library would refuse.
  LEASEHOLD_ASSIGN_OR_RETURN(const NotedJson plain, split_document_tokens(noted, "the tokenizer"));
  const std::string& text = plain.json;
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const json model = root.is_object() ? root.value("model", json()) : json();
  json parts;  // the parts of a Hugging Face tokenizer.json
  if (model.is_object()) {
    exported.texts["tokenizer.json"] = text;
    exported.tokenizer = "tokenizer.json";
    parts = root;
  } else if (model.is_string()) {
    const auto bytes = from_base64(model.get_ref<const std::string&>());
    if (!bytes) return error(Code::kBadData, "the checkpoint's SentencePiece model is damaged");
    exported.texts["tokenizer.model"] = *bytes;
    exported.tokenizer = "tokenizer.model";
  } else {
    exported.tokenizer = "not written: Hugging Face has no such kind";
    return ok_status();
  }
  std::string& setup = exported.texts[kTokenizerConfig];
  setup = tokenizer_config(setup, parts, ids, config);
  return ok_status();
}

}  // namespace

Result<CompanionFiles> read_companion_files(FileSystem& files, const std::string& folder,
                                            const std::string& token_ids, bool with_tokenizer) {
  CompanionFiles read;
  if (!token_ids.empty() && token_ids != "{}") read.texts[kTokenIdsFile] = token_ids;
  std::vector<std::string> names = {kGenerationConfig};
  if (with_tokenizer)
    names.insert(names.end(), std::begin(kTokenizerFiles), std::end(kTokenizerFiles));
  for (const std::string& name : names) {
    const std::string path = join_path(folder, name);
    if (!files.exists(path)) continue;
    Result<std::string> text = read_file(files, path, kMaxCompanionBytes);
    if (text.status().code() == Code::kStorage) return text.status();
    const Status usable = text.ok() ? check_companion(name, *text, path) : text.status();
    if (usable.ok()) {
      read.texts[name] = std::move(*text);
    } else {
      read.notices.push_back("not kept for an export: " + usable.message());
    }
  }
  return read;
}

Result<ExportedFiles> companion_files_of(const CheckpointInfo& info, const ModelConfig& config) {
  // Only known names: nothing in a manifest may become a path.
  const auto kept = [&](const std::string& name) {
    const auto found = info.model_files.find(name);
    return found == info.model_files.end() ? std::string() : found->second;
  };
  ExportedFiles exported;
  exported.tokenizer = "none in the checkpoint";
  std::vector<std::string> names = {kGenerationConfig};
  names.insert(names.end(), std::begin(kTokenizerFiles), std::end(kTokenizerFiles));
  for (const std::string& name : names) {
    const std::string text = kept(name);
    if (text.empty()) continue;
    LEASEHOLD_RETURN_IF_ERROR(check_companion(name, text, "the checkpoint's " + name));
    exported.texts[name] = text;
  }
  json ids = {{"bos_token_id", nullptr}, {"eos_token_id", nullptr}, {"pad_token_id", nullptr}};
  std::unique_ptr<Tokenizer> tokenizer;
  if (!info.tokenizer_json.empty()) {
    LEASEHOLD_ASSIGN_OR_RETURN(tokenizer,
                               parse_tokenizer_json(info.tokenizer_json, "the tokenizer"));
    if (const auto end = tokenizer->end_of_document()) ids["eos_token_id"] = *end;
    if (const auto begin = tokenizer->beginning_of_document()) ids["bos_token_id"] = *begin;
  }
  if (const std::string own = kept(kTokenIdsFile); !own.empty()) {
    LEASEHOLD_RETURN_IF_ERROR(check_companion(kTokenIdsFile, own, "the checkpoint's token ids"));
    ids = json::parse(own);
  }
  exported.token_ids = ids.dump();
  if (tokenizer)
    LEASEHOLD_RETURN_IF_ERROR(add_tokenizer(info.tokenizer_json, ids, config, exported));
  return exported;
}

}  // namespace leasehold
