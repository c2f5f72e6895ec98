#include "runtime/data/split_pattern.h"

#include <gtest/gtest.h>

#include "runtime/data/text_splitter.h"

namespace leasehold {
namespace {

std::vector<SplitStage> isolated(std::initializer_list<std::string> patterns) {
  std::vector<SplitStage> stages;
  for (const std::string& pattern : patterns) stages.push_back({.pattern = pattern});
  return stages;
}

std::vector<std::string> pieces(const std::vector<SplitStage>& stages, std::string_view text) {
  const TextSplitter splitter = TextSplitter::create(stages, "here").value();
  TextSplitter::Scratch scratch = splitter.make_scratch();
  std::vector<std::string> found;
  EXPECT_TRUE(
      splitter.split(text, scratch, [&](std::string_view part) { found.emplace_back(part); }).ok());
  return found;
}

using Pieces = std::vector<std::string>;

TEST(SplitPattern, OfGpt2) {
  const std::vector<SplitStage> gpt2 = isolated({std::string(kGpt2Pattern)});
  EXPECT_EQ(pieces(gpt2, "I'm  here,\n\nat 10:30!"),
            (Pieces{"I", "'m", " ", " here", ",", "\n", "\n", "at", " 10", ":", "30", "!"}));
  EXPECT_EQ(pieces(gpt2, "a\xFF\xFE b"), (Pieces{"a", "\xFF", "\xFE", " b"}));
  EXPECT_EQ(pieces(gpt2, ""), Pieces{});
}

TEST(SplitPattern, SeveralStagesAndWhatNoneMatches) {
  EXPECT_EQ(pieces(isolated({"\\p{N}", "\\p{L}+|\\s"}), "ab12c ?d"),
            (Pieces{"ab", "1", "2", "c", " ", "?", "d"}));
}

// Splits "the-final--countdown" as the tests of Hugging Face's library do.
TEST(SplitPattern, BehavesAsToldWithMatches) {
  const auto split = [](SplitBehavior behavior, bool invert) {
    // The second stage leaves places to cut at.
    return pieces({{.pattern = invert ? "[^-]" : "-", .behavior = behavior, .invert = invert},
                   {.pattern = "[\\r\\n ]"}},
                  "the-final--countdown");
  };
  using enum SplitBehavior;
  EXPECT_EQ(split(kIsolated, false), (Pieces{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split(kRemoved, false), (Pieces{"the", "final", "countdown"}));
  EXPECT_EQ(split(kMergedWithPrevious, false), (Pieces{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split(kMergedWithNext, false), (Pieces{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split(kContiguous, false), (Pieces{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(split(kContiguous, true), (Pieces{"the", "-", "final", "--", "countdown"}));
  for (const SplitBehavior behavior : {kIsolated, kRemoved, kContiguous})
    EXPECT_EQ(parse_split_behavior(split_behavior_name(behavior)), behavior);
  EXPECT_EQ(parse_split_behavior("isolated"), std::nullopt);
}

// PCRE2's own \s includes U+180E; Unicode and Oniguruma do not.
TEST(SplitPattern, WhiteSpaceIsUnicodes) {
  const SplitPattern space = SplitPattern::compile("\\s", "here").value();
  const SplitPattern other = SplitPattern::compile("[^\\s]", "here").value();
  SplitPattern::Scratch scratch(space, true), other_scratch(other, true);
  for (const char* white : {" ", "\t", "\v", "\f", "\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80",
                            "\xE2\x80\xA8", "\xE3\x80\x80"}) {
    EXPECT_TRUE(space.find(scratch, white, 0).found) << white;
    EXPECT_FALSE(other.find(other_scratch, white, 0).found) << white;
  }
  for (const char* visible : {"a", "\x1C", "\xE1\xA0\x8E", "\xE2\x80\x8B", "\xEF\xBB\xBF"}) {
    EXPECT_FALSE(space.find(scratch, visible, 0).found) << visible;
    EXPECT_TRUE(other.find(other_scratch, visible, 0).found) << visible;
  }
}

TEST(SplitPattern, WhatMeansOtherThingsElsewhereIsRefused) {
  for (const char* pattern :
       {"^a",       "a$",      "a.b",     "\\w+",    "\\bx",  "\\h",         "\\x41",
        "\\1",      "(?<=a)b", "(?<!a)b", "(?<n>a)", "(?x)a", "(?#a)",       "(*FAIL)",
        "[a[b]]",   "[a&&b]",  "[\\S]",   "[\\s-z]", "[]a]",  "[[:alpha:]]", "a{1,3}+",
        "\\p{Han}", "\\p{L",   "\\pL",    "[a",      "(a",    "a)",          "a\\",
        "*",        "a*",      "(?=a)",   "",        "[b-a]", "\xFF",        "\\\xC3\xA9"}) {
    const auto result = SplitPattern::compile(pattern, "here");
    EXPECT_EQ(result.status().code(), Code::kBadData) << pattern;
    EXPECT_TRUE(result.status().message().starts_with("here: ")) << result.status().message();
  }
  EXPECT_FALSE(SplitPattern::compile(std::string(20000, 'a'), "here").ok());
}

TEST(SplitPattern, BacktrackingWithoutEndIsAnError) {
  const SplitPattern pattern = SplitPattern::compile("(?:a|aa)+[bc]", "here").value();
  SplitPattern::Scratch scratch(pattern, true);
  const std::string text = std::string(60, 'a');
  const SplitPattern::Match match = pattern.find(scratch, text, 0);
  ASSERT_NE(match.error, 0);
  const Status status = SplitPattern::match_error(match.error);
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("break the text"), std::string::npos) << status.message();
}

// Reading these patterns does not try their cuts. So this test does, with another spelling of them.
TEST(TextSplitter, CutsOfTheKnownPatternsHold) {
  for (const std::string_view known : TextSplitter::tried_patterns()) {
    const auto tried = TextSplitter::create(isolated({"(?:" + std::string(known) + ")"}), "here");
    ASSERT_TRUE(tried.ok()) << tried.status().message();
    for (const auto& [text, at] :
         std::vector<std::pair<std::string, size_t>>{{"a b", 1}, {"a\nb", 1}, {"!\nb", 2}}) {
      EXPECT_TRUE(tried.value().may_cut(text, at)) << known << text;
    }
  }
}

TEST(TextSplitter, CutsOnlyWhereThePatternAllows) {
  // Newlines belong to the letters after them. So there is no cut there, but still one before
  // spaces.
  const TextSplitter joins =
      TextSplitter::create(isolated({"\\n\\p{L}+|[\\p{L}\\p{N}]+|\\s|[^\\s]"}), "here").value();
  EXPECT_FALSE(joins.may_cut("!\nb", 2));
  EXPECT_TRUE(joins.may_cut("a b", 1));
  EXPECT_FALSE(TextSplitter::create(isolated({"\\p{L}+\\s?|\\n\\p{L}"}), "here").ok());
}

}  // namespace
}  // namespace leasehold
