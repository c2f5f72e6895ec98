#include "runtime/data/bpe_tokenizer.h"

#include <gtest/gtest.h>
// Included after gtest, which this header does not include itself.
#include <rapidcheck/gtest.h>
#include <thread>

#include "runtime/data/added_tokens.h"
#include "tests/runtime/data/bpe_fixture.h"

namespace leasehold {
namespace {

class BpeFixture : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Tokenizer> tokenizer_ = bpe_fixture_tokenizer(GetParam());
  std::vector<BpeVector> vectors_ = bpe_fixture_vectors(GetParam());
};

TEST_P(BpeFixture, EncodesAsTheReferenceDoesAndDecodesBack) {
  ASSERT_GT(vectors_.size(), 100u);
  for (const BpeVector& vector : vectors_) {
    const auto ids = tokenizer_->encode(vector.text);
    ASSERT_TRUE(ids.ok()) << vector.name << ": " << ids.status().message();
    EXPECT_EQ(ids.value(), vector.ids) << vector.name;
    EXPECT_EQ(tokenizer_->decode(ids.value()).value(), vector.text) << vector.name;
  }
}

TEST_P(BpeFixture, ThreadsShareIt) {
  std::vector<std::thread> threads;
  std::atomic<int> num_wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (const BpeVector& vector : vectors_) {
        if (tokenizer_->encode(vector.text).value() != vector.ids) ++num_wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_wrong, 0);
}

TEST_P(BpeFixture, ItsDescriptionComesBack) {
  const std::string json = tokenizer_->to_json();
  const auto again = parse_tokenizer_json(json, "tokenizer.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again.value()->to_json(), json);
  EXPECT_EQ(again.value()->vocab_size(), tokenizer_->vocab_size());
  EXPECT_EQ(again.value()->end_of_document(), tokenizer_->end_of_document());
  for (const BpeVector& vector : vectors_) {
    EXPECT_EQ(again.value()->encode(vector.text).value(), vector.ids) << vector.name;
  }
}

// Returns a text of pieces that matter to patterns and added tokens.
std::string random_text() {
  const auto piece = rc::gen::elementOf(std::vector<std::string>{"a",
                                                                 "Z",
                                                                 "the",
                                                                 "7",
                                                                 "'s",
                                                                 "'",
                                                                 "!",
                                                                 "/",
                                                                 " ",
                                                                 "  ",
                                                                 "\n",
                                                                 "\n\n",
                                                                 "\r\n",
                                                                 "\t",
                                                                 "\xC2\xA0",
                                                                 "\xC3\xA9",
                                                                 "\xCC\x81",
                                                                 "\xE4\xBB\x96",
                                                                 "\xE3\x80\x82",
                                                                 "\xF0\x9F\x98\x80",
                                                                 "\xE2\x98",
                                                                 "\xFF",
                                                                 "<|end_of_text|>",
                                                                 "<|endoftext|>",
                                                                 "<tool>",
                                                                 "<|end"});
  std::string text;
  for (const std::string& part : *rc::gen::container<std::vector<std::string>>(piece)) text += part;
  return text;
}

RC_GTEST_PROP(Bpe, AnyBytesComeBack, (const std::string& bytes)) {
  static const auto gpt2 = bpe_fixture_tokenizer("gpt2"), llama3 = bpe_fixture_tokenizer("llama3");
  for (const auto& tokenizer : {gpt2.get(), llama3.get()}) {
    RC_ASSERT(tokenizer->decode(tokenizer->encode(bytes).value()).value() == bytes);
  }
}

RC_GTEST_PROP(Bpe, CuttingAtASeparablePlaceChangesNothing, ()) {
  static const auto gpt2 = bpe_fixture_tokenizer("gpt2"), llama3 = bpe_fixture_tokenizer("llama3");
  const std::string text = random_text();
  for (const auto& tokenizer : {gpt2.get(), llama3.get()}) {
    const std::vector<int32_t> whole = tokenizer->encode(text).value();
    RC_ASSERT(tokenizer->decode(whole).value() == text);
    // Every place where a stream that has got this far would be cut.
    for (size_t seen = 0; seen <= text.size(); ++seen) {
      const auto cut = static_cast<size_t>(tokenizer->separable_prefix(text.substr(0, seen)));
      RC_ASSERT(cut < seen || cut == 0);
      std::vector<int32_t> apart = tokenizer->encode(text.substr(0, cut)).value();
      const std::vector<int32_t> rest = tokenizer->encode(text.substr(cut)).value();
      apart.insert(apart.end(), rest.begin(), rest.end());
      RC_ASSERT(apart == whole);
    }
  }
}

TEST(Bpe, CutsLatestAndBetweenWords) {
  const auto gpt2 = bpe_fixture_tokenizer("gpt2");
  EXPECT_EQ(gpt2->separable_prefix("one two three"), 7);
  EXPECT_EQ(gpt2->separable_prefix("one\ntwo"), 4);
  EXPECT_EQ(gpt2->separable_prefix("\xE4\xBB\x96\xE3\x80\x82\n\xE4\xBB\x96"), 7);  // Chinese lines
  EXPECT_EQ(gpt2->separable_prefix("one!  \n\n  two"), 0);
  EXPECT_EQ(gpt2->separable_prefix("word"), 0);
  EXPECT_EQ(gpt2->separable_prefix(""), 0);
}

TEST(Bpe, KnowsTheTokenThatEndsADocument) {
  EXPECT_EQ(bpe_fixture_tokenizer("gpt2")->end_of_document(), 1756);
  const auto llama3 = bpe_fixture_tokenizer("llama3");
  EXPECT_EQ(llama3->decode({{*llama3->end_of_document()}}).value(), "<|end_of_text|>");
}

TEST(Bpe, AnUnknownIdIsNamed) {
  const auto gpt2 = bpe_fixture_tokenizer("gpt2");
  for (const int32_t id : {-1, 1757}) {
    const Status status = gpt2->decode({{5, id}}).status();
    EXPECT_EQ(status.code(), Code::kBadData);
    EXPECT_NE(status.message().find(fmt::format("token 1 is {}", id)), std::string::npos);
  }
}

TEST(AddedTokens, LeftmostThenLongest) {
  const AddedTokens added({{"<a", 1}, {"<a>", 2}, {"a>b", 3}});
  EXPECT_EQ(added.find("x<a>b", 0).token->id, 2);
  EXPECT_EQ(added.find("x<a>b", 0).begin, 1u);
  EXPECT_EQ(added.find("x<a>b", 2).token->id, 3);
  EXPECT_EQ(added.find("<ab", 0).token->id, 1);
  EXPECT_EQ(added.find("xyz", 0).begin, std::string_view::npos);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, BpeFixture, ::testing::Values("gpt2", "llama3"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace leasehold
