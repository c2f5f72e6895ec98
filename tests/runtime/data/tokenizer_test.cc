#include "runtime/data/tokenizer.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "runtime/data/base64.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

TEST(ByteTokenizer, GivesBackEveryByte) {
  const auto tokenizer = create_tokenizer("byte").value();
  EXPECT_EQ(tokenizer->vocab_size(), 256);
  std::string text;
  for (int i = 0; i < 256; ++i) text += static_cast<char>(i);
  const std::vector<int32_t> ids = tokenizer->encode(text).value();
  ASSERT_EQ(ids.size(), 256u);
  for (int i = 0; i < 256; ++i) EXPECT_EQ(ids[static_cast<size_t>(i)], i);
  EXPECT_EQ(tokenizer->decode(ids).value(), text);
  EXPECT_TRUE(tokenizer->encode("").value().empty());
  EXPECT_EQ(tokenizer->separable_prefix("abc"), 3);
}

TEST(ByteTokenizer, RefusesIdsOutsideTheVocabulary) {
  const auto tokenizer = create_tokenizer("byte").value();
  for (const int32_t id : {256, -1}) {
    const std::vector<int32_t> ids = {65, id};
    const Status status = tokenizer->decode(ids).status();
    EXPECT_EQ(status.code(), Code::kBadData);
    EXPECT_NE(status.message().find(fmt::format("token 1 is {}", id)), std::string::npos)
        << status.message();
  }
}

TEST(Tokenizers, DescriptionsComeBack) {
  for (const std::string_view name : tokenizer_names()) {
    const auto tokenizer = create_tokenizer(name).value();
    const auto again = parse_tokenizer_json(tokenizer->to_json(), "tokenizer.json");
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(again.value()->name(), name);
    EXPECT_EQ(again.value()->vocab_size(), tokenizer->vocab_size());
    EXPECT_EQ(again.value()->to_json(), tokenizer->to_json());
  }
}

TEST(Tokenizers, AnUnknownNameIsRefusedSayingWhichExist) {
  const Status status = create_tokenizer("gpt2").status();
  EXPECT_EQ(status.code(), Code::kUsage);
  EXPECT_NE(status.message().find("'gpt2'"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("byte"), std::string::npos) << status.message();
}

TEST(Tokenizers, BadDescriptionsAreRefused) {
  const char* const bad_texts[] = {
      "",
      "[]",
      "{",
      "{}",
      R"({"format": "leasehold-tokenizer", "name": "byte", "vocab": 256})",
      R"({"format": "leasehold-tokenizer", "version": 2, "name": "byte", "vocab": 256})",
      R"({"format": "leasehold-tokenizer", "version": 1, "name": 3, "vocab": 256})",
      R"({"format": "leasehold-tokenizer", "version": 1, "name": "other", "vocab": 256})",
      R"({"format": "leasehold-tokenizer", "version": 1, "name": "byte", "vocab": 255})",
      R"({"format": "leasehold-tokenizer", "version": 1, "name": "byte"})",
      R"({"format": "leasehold-tokenizer", "version": 1, "name": "sentencepiece", "vocab": 1})",
      R"({"format": "leasehold-tokenizer", "version": 1, "name": "sentencepiece", "vocab": 1,
          "model": "AA="})",
  };
  for (const char* json : bad_texts) {
    const Status status = parse_tokenizer_json(json, "d/tokenizer.json").status();
    EXPECT_EQ(status.code(), Code::kBadData) << json;
    EXPECT_NE(status.message().find("d/tokenizer.json"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("leasehold prepare"), std::string::npos) << status.message();
  }
}

TEST(Tokenizers, AreLoadedByNameOrFromFiles) {
  TemporaryDirectory directory;
  EXPECT_EQ(load_tokenizer(posix_files(), "byte").value()->name(), "byte");
  std::ofstream(directory / "tokenizer.json") << create_tokenizer("byte").value()->to_json();
  EXPECT_EQ(load_tokenizer(posix_files(), directory / "tokenizer.json").value()->name(), "byte");
  EXPECT_EQ(load_tokenizer(posix_files(), directory.path()).value()->name(), "byte");
  const auto expect_error = [](const std::string& path, Code code, const char* part) {
    const Status status = load_tokenizer(posix_files(), path).status();
    EXPECT_EQ(status.code(), code) << status.message();
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  };
  expect_error("gpt2", Code::kUsage, "merges.txt");
  std::filesystem::create_directories(directory / "none");
  expect_error(directory / "none", Code::kMissingInput, "tokenizer.model");
  std::ofstream(directory / "none/vocab.json") << "{}";
  expect_error(directory / "none", Code::kMissingInput, "no merges.txt");
  std::ofstream(directory / "bad.model") << "not one";
  expect_error(directory / "bad.model", Code::kBadData, "bad.model");
}

TEST(Base64, GivesBackEveryLengthAndNothingElse) {
  std::string bytes;
  for (int i = 0; i < 70; ++i) {
    const auto back = from_base64(to_base64(bytes));
    ASSERT_TRUE(back.has_value()) << i;
    EXPECT_EQ(*back, bytes);
    bytes += static_cast<char>(i * 37 + 200);
  }
  EXPECT_EQ(to_base64("light work"), "bGlnaHQgd29yaw==");  // padded as in RFC 4648
  for (const char* bad : {"A", "AA=", "AB==", "A===", "====", "AAA=AAAA", "AA\nA", "AA-_"}) {
    EXPECT_FALSE(from_base64(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace leasehold
