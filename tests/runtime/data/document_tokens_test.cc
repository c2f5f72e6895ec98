#include "runtime/data/document_tokens.h"

#include <gtest/gtest.h>

#include "runtime/data/token_stream.h"
#include "tests/runtime/data/bpe_fixture.h"

namespace leasehold {
namespace {

TEST(DocumentTokens, ANoteComesOffAgain) {
  const std::string json = "{\"a\": {\"b\": 1}}\n";
  for (const DocumentTokens& tokens :
       {DocumentTokens{}, DocumentTokens{7, {}}, DocumentTokens{std::nullopt, {3, 0, 5}}}) {
    const auto back = split_document_tokens(add_document_tokens(json, tokens), "t.json");
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ(back.value().json, json);
    EXPECT_EQ(back.value().tokens, tokens);
  }
  EXPECT_EQ(split_document_tokens(json, "t.json").value().json, json);
  EXPECT_FALSE(split_document_tokens(json, "t.json").value().tokens.has_value());
}

TEST(DocumentTokens, ADamagedNoteIsRefused) {
  const std::string start = "{\"leasehold_tokens\": ";
  for (const char* rest :
       {"", "{}, \"a\": 1}", "{\"begin\": -1, \"ends\": []}, \"a\": 1}",
        "{\"begin\": null, \"ends\": [2.5]}, \"a\": 1}", "{\"begin\": null}, \"a\": 1}",
        "{\"begin\": null, \"ends\": 3}, \"a\": 1}", "{\"begin\": null, \"ends\": ["}) {
    const Status status = split_document_tokens(start + rest, "t.json").status();
    EXPECT_EQ(status.code(), Code::kBadData) << rest;
    EXPECT_TRUE(status.message().starts_with("t.json: ")) << status.message();
  }
}

TEST(DocumentTokens, TravelWithTheDescription) {
  const auto tokenizer = bpe_fixture_tokenizer("llama3");
  const std::string plain = tokenizer->to_json();
  const int32_t tool = tokenizer->token_id("<tool>").value();
  EXPECT_EQ(tokenizer->token_id("no such token"), std::nullopt);
  tokenizer->set_document_tokens({5, {tool, 6}});
  const auto again = parse_tokenizer_json(tokenizer->to_json(), "t.json").value();
  EXPECT_EQ(again->end_of_document(), tool);
  EXPECT_EQ(again->beginning_of_document(), 5);
  EXPECT_EQ(again->end_tokens().size(), 2u);
  EXPECT_EQ(again->to_json(), tokenizer->to_json());
  EXPECT_EQ(split_document_tokens(again->to_json(), "t.json").value().json, plain);
  const Status status =
      parse_tokenizer_json(add_document_tokens(plain, {1 << 23, {}}), "t.json").status();
  EXPECT_EQ(status.code(), Code::kBadData);
}

TEST(TokenStream, HoldsBackHalfACharacter) {
  const auto bytes = create_tokenizer("byte").value();
  TokenStream stream(*bytes);
  ASSERT_TRUE(stream.skip(bytes->encode("prompt ").value()).ok());
  std::vector<std::string> parts;
  const auto ids = bytes->encode("a\xC3\xA9\xF0\x9F\x98\x80\xFF-\xE2\x98").value();
  for (const int32_t id : ids) parts.push_back(stream.push(id).value());
  EXPECT_EQ(parts, (std::vector<std::string>{"a", "", "\xC3\xA9", "", "", "", "\xF0\x9F\x98\x80",
                                             "\xFF", "-", "", ""}));
  EXPECT_EQ(stream.finish(), "\xE2\x98");
  EXPECT_EQ(stream.finish(), "");
}

// Long texts are not decoded again for each token, and the result is the same.
TEST(TokenStream, ReadsTheSameHoweverLong) {
  const auto tokenizer = create_tokenizer("byte").value();
  TokenStream stream(*tokenizer);
  ASSERT_TRUE(stream.skip(std::vector<int32_t>(1000, 'x')).ok());
  std::string expected, shown;
  for (int i = 0; i < 1000; ++i) {
    const std::string character =
        i % 3 == 0 ? "\xC3\xA9" : std::string(1, static_cast<char>('a' + i % 26));
    expected += character;
    for (const char c : character) shown += stream.push(static_cast<uint8_t>(c)).value();
  }
  EXPECT_EQ(shown, expected);
}

// A decoder that shows every byte as an incomplete character, and counts its calls.
class HalfCharacters : public Tokenizer {
 public:
  std::string_view name() const override { return "halves"; }
  int64_t vocab_size() const override { return 256; }
  Result<std::vector<int32_t>> encode(std::string_view) const override {
    return std::vector<int32_t>();
  }
  Result<std::string> decode(std::span<const int32_t> ids) const override {
    decoded_ += std::ssize(ids);
    std::string text;
    for (size_t i = 0; i < ids.size(); ++i) text += "\xEF\xBF\xBD";
    return text;
  }
  int64_t separable_prefix(std::string_view) const override { return 0; }
  std::optional<int32_t> token_id(std::string_view) const override { return std::nullopt; }
  int64_t decoded() const { return decoded_; }

 protected:
  std::string description() const override { return "{}"; }

 private:
  mutable int64_t decoded_ = 0;
};

// Bytes that never become a character are shown, and the cost does not grow with their number.
TEST(TokenStream, HalfCharactersWithoutEndAreShown) {
  const HalfCharacters tokenizer;
  TokenStream stream(tokenizer);
  constexpr int kTokens = 3000;
  std::string shown;
  for (int i = 0; i < kTokens; ++i) shown += stream.push(0x80).value();
  EXPECT_EQ(std::ssize(shown), 3 * (kTokens - 3));
  shown += stream.finish();
  EXPECT_EQ(std::ssize(shown), 3 * kTokens);
  EXPECT_LT(tokenizer.decoded(), 100 * kTokens);
}

}  // namespace
}  // namespace leasehold
