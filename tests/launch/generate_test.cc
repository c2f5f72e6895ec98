#include "launch/generate.h"

#include <gtest/gtest.h>
#include <limits>

namespace leasehold {
namespace {

// A "model" that gives the letters of a text in turn, and after them the id 'e'.
class Reciting : public NextToken {
 public:
  Reciting(std::string text, size_t vocab) : text_(std::move(text)), logits_(vocab) {}

  Result<std::span<const float>> logits_after(std::span<const int32_t> ids) override {
    ++calls;
    std::fill(logits_.begin(), logits_.end(), 0.0F);
    const size_t at = ids.size() - 1;  // after one id of the prompt
    logits_[static_cast<uint8_t>(at < text_.size() ? text_[at] : 'e')] = 100;
    if (vocab_has_more()) logits_.back() = 200;
    if (broken_after > 0 && std::ssize(ids) > broken_after)
      logits_[7] = std::numeric_limits<float>::quiet_NaN();
    return std::span<const float>(logits_);
  }

  int calls = 0;
  int64_t broken_after = 0;

 private:
  bool vocab_has_more() const { return logits_.size() > 256; }

  std::string text_;
  std::vector<float> logits_;
};

class GenerateTest : public testing::Test {
 protected:
  GenerateTest() : tokenizer_(create_tokenizer("byte").value()) {
    tokenizer_->set_document_tokens({std::nullopt, {'.', 'e'}});
  }
  std::string generated(Reciting& model, const Generation& generation) {
    std::string shown;
    throw_if_error(generate(model, *tokenizer_, {'p'}, generation,
                            [&](std::string_view text) { shown += text; }));
    return shown;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(GenerateTest, StopsAtAnyTokenThatEndsAText) {
  Reciting first("abc.xyz", 256), second("ab", 256);
  EXPECT_EQ(generated(first, {.tokens = 30, .choice = {.temperature = 0}}), "abc");
  EXPECT_EQ(first.calls, 4);
  EXPECT_EQ(generated(second, {.tokens = 30, .choice = {.temperature = 0}}), "ab");
}

TEST_F(GenerateTest, GoesOnWhereThatIsAskedFor) {
  Reciting model("abc.xyz", 256);
  EXPECT_EQ(generated(model, {.tokens = 8, .ignore_end = true, .choice = {.temperature = 0}}),
            "abc.xyze");
  Reciting stops("abcdef", 256);
  EXPECT_EQ(generated(stops, {.tokens = 3, .choice = {.temperature = 0}}), "abc");
  EXPECT_EQ(stops.calls, 3);
}

TEST_F(GenerateTest, ShowsWhatIsLeftOfACharacterAtTheEnd) {
  Reciting model("a\xC3", 256);
  EXPECT_EQ(generated(model, {.tokens = 30, .choice = {.temperature = 0}}), "a\xC3");
}

// The model's vocabulary was rounded up here.
TEST_F(GenerateTest, DrawsNoIdThatTheTokenizerLacks) {
  Reciting model("abc", 300);
  EXPECT_EQ(generated(model, {.tokens = 30, .choice = {.temperature = 0}}), "abc");
}

TEST_F(GenerateTest, RefusesAPromptWithoutTokens) {
  Reciting model("abc", 256);
  const Status status = generate(model, *tokenizer_, {}, {.tokens = 30}, [](auto) {});
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("--begin-token"), std::string::npos) << status.message();
  EXPECT_EQ(model.calls, 0);
}

TEST_F(GenerateTest, RefusesLogitsThatAreNoNumbers) {
  Reciting model("abcdef", 256);
  model.broken_after = 2;
  const Status status = generate(model, *tokenizer_, {'p'}, {.tokens = 30}, [](auto) {});
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("after 3 tokens"), std::string::npos) << status.message();
}

TEST_F(GenerateTest, ASeedGivesOneText) {
  const auto drawn = [&](int64_t seed) {
    Reciting model("", 256);
    return generated(
        model, {.tokens = 20, .ignore_end = true, .choice = {.temperature = 50}, .seed = seed});
  };
  EXPECT_EQ(drawn(3), drawn(3));
  EXPECT_NE(drawn(3), drawn(4));
}

}  // namespace
}  // namespace leasehold
