#include "runtime/data/tokenizer.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "runtime/base/file_kind.h"
#include "runtime/base/json_reader.h"
#include "runtime/data/base64.h"
#include "runtime/data/bpe_tokenizer.h"
#include "runtime/data/find_document_tokens.h"
#include "runtime/data/reference_tokenizer.h"
#include "runtime/data/sentencepiece_tokenizer.h"

namespace leasehold {

namespace {

constexpr std::string_view kFormat = "leasehold-tokenizer";
constexpr int64_t kFormatVersion = 1;
constexpr int kTokenizerJsonDepth = 32;
constexpr std::string_view kSentencePiece = "sentencepiece";

class ByteTokenizer : public Tokenizer {
 public:
  static constexpr std::string_view kName = "byte";
  static constexpr int64_t kVocab = 256;

  std::string_view name() const override { return kName; }
  int64_t vocab_size() const override { return kVocab; }

  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    std::vector<int32_t> ids(text.size());
    for (size_t i = 0; i < text.size(); ++i) ids[i] = static_cast<uint8_t>(text[i]);
    return ids;
  }

  Result<std::string> decode(std::span<const int32_t> ids) const override {
    std::string text(ids.size(), '\0');
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0 || ids[i] >= kVocab) {
        return error(Code::kBadData, "token {} is {}, but the byte tokenizer has the ids 0 to {}",
                     i, ids[i], kVocab - 1);
      }
      text[i] = static_cast<char>(ids[i]);
    }
    return text;
  }

  int64_t separable_prefix(std::string_view text) const override {
    return static_cast<int64_t>(text.size());
  }

  // Returns the id of a single byte.
  std::optional<int32_t> token_id(std::string_view content) const override {
    if (content.size() != 1) return std::nullopt;
    return static_cast<uint8_t>(content[0]);
  }

 protected:
  std::string description() const override {
    return fmt::format("{{\"format\": \"{}\", \"version\": {}, \"name\": \"{}\", \"vocab\": {}}}\n",
                       kFormat, kFormatVersion, kName, kVocab);
  }
};

struct Kind {
  std::string_view name;
  std::unique_ptr<Tokenizer> (*create)();
};

constexpr std::array kKinds = {
    Kind{ByteTokenizer::kName,
         []() -> std::unique_ptr<Tokenizer> { return std::make_unique<ByteTokenizer>(); }},
};

}  // namespace

std::string Tokenizer::to_json() const {
  return tokens_ == own_tokens_ ? description() : add_document_tokens(description(), tokens_);
}

std::vector<std::string_view> tokenizer_names() {
  std::vector<std::string_view> names;
  for (const Kind& kind : kKinds) names.push_back(kind.name);
  return names;
}

Result<std::unique_ptr<Tokenizer>> create_tokenizer(std::string_view name) {
  for (const Kind& kind : kKinds) {
    if (kind.name == name) return kind.create();
  }
  return error(Code::kUsage, "there is no tokenizer '{}'; there is: {}", name,
               fmt::join(tokenizer_names(), ", "));
}

namespace {

// Parses Leasehold's own form: {"format": ..., "version": 1, "name": ..., "vocab": ...}.
Result<std::unique_ptr<Tokenizer>> parse_own(const nlohmann::json& root, const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    return error(Code::kBadData, "{}: {}; make it again with `leasehold prepare`", path, why);
  };
  if (!root.is_object()) return refuse("not a JSON object, so no description of a tokenizer");
  const auto format = root.find("format");
  if (format == root.end() || *format != kFormat) {
    return refuse(fmt::format("no description of a tokenizer: \"format\" must be \"{}\"", kFormat));
  }
  const auto version = root.find("version");
  if (version == root.end() || *version != kFormatVersion) {
    return refuse(fmt::format("\"version\" must be {}", kFormatVersion));
  }
  const auto name = root.find("name");
  if (name == root.end() || !name->is_string()) return refuse("\"name\" must be a string");
  const auto model = root.find("model");
  std::optional<std::string> bytes;
  if (model != root.end() && model->is_string()) {
    bytes = from_base64(model->get_ref<const std::string&>());
  }
  if (*name == kSentencePiece && !bytes) return refuse("\"model\" must be a model in base64");
  auto tokenizer = *name == kSentencePiece ? create_sentencepiece_tokenizer(*bytes, path)
                                           : create_tokenizer(name->get_ref<const std::string&>());
  if (!tokenizer.ok()) return refuse(tokenizer.status().message());
  const auto vocab = root.find("vocab");
  if (vocab == root.end() || *vocab != tokenizer.value()->vocab_size()) {
    return refuse(fmt::format("\"vocab\" must be {} for the {} tokenizer",
                              tokenizer.value()->vocab_size(), tokenizer.value()->name()));
  }
  return tokenizer;
}

// Adds a notice for "truncation" and "padding", which concern batches: here texts are encoded
// whole.
void notice_saved_sections(const nlohmann::json& root, const std::string& path,
                           Tokenizer& tokenizer) {
  std::string names;
  for (const char* name : {"truncation", "padding"}) {
    if (root.contains(name) && !root[name].is_null())
      names += fmt::format("{}{}", names.empty() ? "" : " and ", name);
  }
  if (!names.empty())
    tokenizer.add_notice(fmt::format("{}: {} not applied: texts are encoded whole", path, names));
}

// Refuses dropout, which would give a text other tokens each time.
Status check_dropout(const nlohmann::json& root, const std::string& path) {
  const auto& model = root["model"];
  const auto dropout = model.is_object() ? model.find("dropout") : model.end();
  if (dropout == model.end() || !dropout->is_number() || *dropout == 0) return ok_status();
  return error(Code::kBadData,
               "{}: model.dropout: with dropout a text has other tokens each time; set it to null",
               path);
}

// Makes a tokenizer from a tokenizer.json. If `program` is null, a tokenizer that is not
// implemented here is an error.
Result<std::unique_ptr<Tokenizer>> parse_huggingface(const nlohmann::json& root,
                                                     std::string_view json, const std::string& path,
                                                     const ReferenceProgram* program) {
  LEASEHOLD_RETURN_IF_ERROR(check_dropout(root, path));
  const auto create_native = [&]() -> Result<std::unique_ptr<Tokenizer>> {
    LEASEHOLD_ASSIGN_OR_RETURN(const BpeDescription description,
                               parse_huggingface_tokenizer(root, json, path));
    return create_bpe_tokenizer(description, path);
  };
  auto made = create_native();
  if (!made.ok() && made.status().code() == Code::kUnavailable && program != nullptr)
    made = create_reference_tokenizer(root, json, path, made.status().message(), *program);
  if (!made.ok()) return made.status();
  Tokenizer& tokenizer = *made.value();
  const TokenLookup lookup{[&](std::string_view content) { return tokenizer.token_id(content); },
                           tokenizer.vocab_size()};
  tokenizer.set_own_document_tokens(find_own_tokens(root, lookup));
  notice_saved_sections(root, path, tokenizer);
  return made;
}

Result<std::unique_ptr<Tokenizer>> parse_description(std::string_view json, const std::string& path,
                                                     const ReferenceProgram* program) {
  if (json.starts_with("version https://git-lfs")) {
    return error(Code::kBadData,
                 "{} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
                 path);
  }
  auto root = parse_strict_json(json, path, kTokenizerJsonDepth);
  if (!root.ok()) {
    if (!json.empty()) LEASEHOLD_RETURN_IF_ERROR(check_file_kind(json, path, "a tokenizer.json"));
    return error(Code::kBadData, "{}; make it again with `leasehold prepare`",
                 root.status().message());
  }
  if (!root.value().is_object() || root.value().contains("format") ||
      !root.value().contains("model")) {
    return parse_own(root.value(), path);
  }
  return parse_huggingface(root.value(), json, path, program);
}

Result<std::unique_ptr<Tokenizer>> parse_noted(std::string_view json, const std::string& path,
                                               const ReferenceProgram* program) {
  LEASEHOLD_ASSIGN_OR_RETURN(NotedJson noted, split_document_tokens(json, path));
  LEASEHOLD_ASSIGN_OR_RETURN(auto tokenizer, parse_description(noted.json, path, program));
  if (noted.tokens) {
    LEASEHOLD_RETURN_IF_ERROR(check_document_tokens(*noted.tokens, tokenizer->vocab_size(), path));
    tokenizer->set_document_tokens(std::move(*noted.tokens));
  }
  return tokenizer;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json,
                                                        const std::string& path) {
  return parse_tokenizer_json(json, path, reference_program_from_environment());
}

Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json,
                                                        const std::string& path,
                                                        const ReferenceProgram& program) {
  return parse_noted(json, path, &program);
}

Result<std::unique_ptr<Tokenizer>> parse_native_tokenizer_json(std::string_view json,
                                                               const std::string& path) {
  return parse_noted(json, path, nullptr);
}

}  // namespace leasehold
