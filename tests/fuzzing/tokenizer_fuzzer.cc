// Fuzzes the files of tokenizers. The first byte says which file the rest is: for Hugging Face a
// whole tokenizer.json ('j') or the pattern of one ('p'), for GPT-2 merges.txt next to a good
// vocab.json ('m'), or the part of a SentencePiece model that we read ourselves ('s').
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "runtime/data/bpe_tokenizer.h"
#include "runtime/data/sentencepiece_model.h"
#include "runtime/data/text_splitter.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

// Returns a vocabulary of every byte, and "aa", "ab" and "aab".
std::string small_vocab() {
  std::string json = "{";
  int id = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token = bytes_to_printable(std::string(1, static_cast<char>(byte)));
    json += fmt::format("\"{}{}\": {}, ", byte == '"' || byte == '\\' ? "\\" : "", token, id++);
  }
  return json + "\"aa\": 256, \"ab\": 257, \"aab\": 258, \"<|endoftext|>\": 259}";
}

// Returns true if decoding restores every text: there is no normalizer, and nothing is dropped.
bool keeps_text(const std::string& json) {
  const auto root = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || root.contains("format")) return true;
  const auto description = parse_huggingface_tokenizer(root, json, "again.json");
  LEASEHOLD_FUZZ_REQUIRE(description.ok());
  const BpeDescription& made = description.value();
  return !made.nfc &&
         std::ranges::count(made.stages, SplitBehavior::kRemoved, &SplitStage::behavior) == 0 &&
         std::ranges::none_of(made.added,
                              [](const AddedToken& token) { return token.lstrip || token.rstrip; });
}

void require_faithful(const Tokenizer& tokenizer, bool keeps, std::string_view text) {
  const auto ids = tokenizer.encode(text);
  if (!ids.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(ids.status().code() == Code::kBadData);
    return;
  }
  const auto decoded = tokenizer.decode(ids.value());
  LEASEHOLD_FUZZ_REQUIRE(decoded.ok() && (!keeps || decoded.value() == text));
  const auto cut = static_cast<size_t>(tokenizer.separable_prefix(text));
  LEASEHOLD_FUZZ_REQUIRE(cut <= text.size());
}

void check_tokenizer(const Result<std::unique_ptr<Tokenizer>>& tokenizer, std::string_view text) {
  if (!tokenizer.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(tokenizer.status().code() == Code::kBadData ||
                           tokenizer.status().code() == Code::kUnavailable);
    LEASEHOLD_FUZZ_REQUIRE(!tokenizer.status().message().empty());
    return;
  }
  const std::string json = tokenizer.value()->to_json();
  const bool keeps = keeps_text(split_document_tokens(json, "t.json").value().json);
  require_faithful(*tokenizer.value(), keeps, text.substr(0, 2000));
  require_faithful(*tokenizer.value(), keeps, "aaab aab  \n<|endoftext|>ab\xFF");
  const auto again = parse_native_tokenizer_json(json, "again.json");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && again.value()->to_json() == json);
  LEASEHOLD_FUZZ_REQUIRE(again.value()->vocab_size() == tokenizer.value()->vocab_size());
}

void check_merges(std::string_view text) {
  static const std::string vocab = small_vocab();
  const auto description = parse_gpt2_files(vocab, "vocab.json", text, "merges.txt");
  if (!description.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(description.status().code() == Code::kBadData);
    return;
  }
  check_tokenizer(create_bpe_tokenizer(description.value(), "vocab.json"), text);
}

void check_pattern(std::string_view text) {
  const auto splitter = TextSplitter::create({{.pattern = std::string(text)}}, "t.json");
  if (!splitter.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(splitter.status().code() == Code::kBadData);
    return;
  }
  TextSplitter::Scratch scratch = splitter.value().make_scratch();
  std::string together;
  const Status status = splitter.value().split(text, scratch, [&](std::string_view piece) {
    LEASEHOLD_FUZZ_REQUIRE(!piece.empty());
    together += piece;
  });
  LEASEHOLD_FUZZ_REQUIRE(!status.ok() || together == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'j':
      check_tokenizer(parse_native_tokenizer_json(rest, "t.json"), rest);
      break;
    case 'm':
      check_merges(rest);
      break;
    case 'p':
      check_pattern(rest);
      break;
    case 's': {
      const auto model = read_sentencepiece_model(rest, "t.model");
      LEASEHOLD_FUZZ_REQUIRE(model.ok() || model.status().code() == Code::kBadData);
      break;
    }
    default:
      break;
  }
  return 0;
}

}  // namespace leasehold
