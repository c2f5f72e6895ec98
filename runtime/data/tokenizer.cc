#include "runtime/data/tokenizer.h"

#include <array>

#include <nlohmann/json.hpp>

namespace leasehold {

namespace {

constexpr std::string_view kFormat = "leasehold-tokenizer";
constexpr int64_t kFormatVersion = 1;

class ByteTokenizer : public Tokenizer {
 public:
  static constexpr std::string_view kName = "byte";
  static constexpr int64_t kVocab = 256;

  std::string_view name() const override { return kName; }
  int64_t vocab_size() const override { return kVocab; }

  std::vector<int32_t> encode(std::string_view text) const override {
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

  std::string to_json() const override {
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

std::string known_names() { return fmt::format("{}", fmt::join(tokenizer_names(), ", ")); }

}  // namespace

std::vector<std::string_view> tokenizer_names() {
  std::vector<std::string_view> names;
  for (const Kind& kind : kKinds) names.push_back(kind.name);
  return names;
}

Result<std::unique_ptr<Tokenizer>> create_tokenizer(std::string_view name) {
  for (const Kind& kind : kKinds) {
    if (kind.name == name) return kind.create();
  }
  return error(Code::kUsage, "there is no tokenizer '{}'; there is: {}", name, known_names());
}

Result<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json,
                                                        const std::string& path) {
  const auto root = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
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
  auto tokenizer = create_tokenizer(name->get_ref<const std::string&>());
  if (!tokenizer.ok()) return refuse(tokenizer.status().message());
  const auto vocab = root.find("vocab");
  if (vocab == root.end() || *vocab != tokenizer.value()->vocab_size()) {
    return refuse(fmt::format("\"vocab\" must be {} for the {} tokenizer",
                              tokenizer.value()->vocab_size(), tokenizer.value()->name()));
  }
  return tokenizer;
}

}  // namespace leasehold
