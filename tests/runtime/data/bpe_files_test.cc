// Tests that errors in a tokenizer's files are named.
#include <functional>

#include "runtime/data/bpe_tokenizer.h"
#include "tests/runtime/data/bpe_fixture.h"

namespace leasehold {
namespace {

using Json = nlohmann::json;

void expect_files_error(const Status& status, Code code, std::initializer_list<std::string> parts) {
  EXPECT_EQ(status.code(), code) << status.message();
  for (const std::string& part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "'" << part << "' is not in: " << status.message();
  }
}

void expect_bad_files(const Status& status, std::initializer_list<std::string> parts) {
  expect_files_error(status, Code::kBadData, parts);
}

class HuggingFaceFile : public ::testing::Test {
 protected:
  // Parses the good file after `change`.
  Status parse(const std::function<void(Json&)>& change) {
    Json changed = good_;
    change(changed);
    return parse_native_tokenizer_json(changed.dump(), "t.json").status();
  }
  Json good_ = Json::parse(bpe_fixture_text("llama3/tokenizer.json"));
};

TEST_F(HuggingFaceFile, WhatIsLeftToTheLibraryIsNamed) {
  ASSERT_TRUE(parse([](Json&) {}).ok());
  const std::vector<std::pair<const char*, Json>> cases = {
      {"/normalizer", {{"type", "NFKC"}}},
      {"/normalizer",
       {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}}},
      {"/model/type", "WordPiece"},
      {"/model/byte_fallback", true},
      {"/model/end_of_word_suffix", "</w>"},
      {"/model/continuing_subword_prefix", "##"},
      {"/decoder/type", "WordPiece"},
      {"/decoder", nullptr},
      {"/pre_tokenizer", {{"type", "Whitespace"}}},
      {"/pre_tokenizer", nullptr},
      {"/pre_tokenizer/pretokenizers", Json::array()},
      {"/pre_tokenizer/pretokenizers/0/type", "Punctuation"},
      {"/pre_tokenizer/pretokenizers/0/type", "ByteLevel"},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Other"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\w+"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "[\\s\\p{L}]+"},
      {"/pre_tokenizer/pretokenizers/1/add_prefix_space", true},
      {"/added_tokens/0/single_word", true},
      {"/added_tokens/0/content", "a b"},
  };
  for (const auto& [place, value] : cases) {
    const Status status = parse([&, at = Json::json_pointer(place), &replaced = value](Json& file) {
      file[at] = replaced;
    });
    expect_files_error(status, Code::kUnavailable, {"t.json: "});
  }
  expect_files_error(parse([](Json& file) {
                       file["model"]["vocab"].erase("!");
                       file["model"]["merges"] = Json::array();
                     }),
                     Code::kUnavailable, {"0x21", "'!'"});
  expect_files_error(parse([](Json& file) {
                       file["added_tokens"][0]["content"] = "mask";
                       file["added_tokens"][0]["lstrip"] = true;
                     }),
                     Code::kUnavailable, {"'mask'", "lstrip"});
}

TEST_F(HuggingFaceFile, WhatDoesNotChangeTokensIsPassedOver) {
  Json changed = good_;
  changed["truncation"] = {{"max_length", 8}};
  changed["padding"] = {{"pad_id", 5}};
  changed["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array()}};
  changed["model"].erase("type");  // as in old files
  const auto tokenizer = parse_native_tokenizer_json(changed.dump(), "t.json").value();
  ASSERT_EQ(tokenizer->notices().size(), 1u);
  EXPECT_EQ(tokenizer->notices()[0],
            "t.json: truncation and padding not applied: texts are encoded whole");
  const std::string text = "In the beginning God created the heaven and the earth.";
  EXPECT_EQ(tokenizer->encode(text).value(), bpe_fixture_tokenizer("llama3")->encode(text).value());
}

TEST_F(HuggingFaceFile, AddedTokensAreNumberedAsTheLibraryDoes) {
  Json changed = good_;
  const int64_t next = changed["added_tokens"].back()["id"].get<int64_t>() + 1;
  changed["added_tokens"].push_back(changed["added_tokens"][0]);  // a repeated token is passed over
  changed["added_tokens"].push_back({{"id", 9000}, {"content", "<far>"}, {"special", true}});
  const auto tokenizer = parse_native_tokenizer_json(changed.dump(), "t.json").value();
  EXPECT_EQ(tokenizer->token_id("<far>"), next);
  EXPECT_EQ(tokenizer->vocab_size(), next + 1);
  ASSERT_EQ(tokenizer->notices().size(), 1u);
  EXPECT_NE(tokenizer->notices()[0].find("'<far>'"), std::string::npos);
}

// The printable characters of the second token spell the first one. Both get the same id, after the
// vocabulary's.
TEST_F(HuggingFaceFile, OneAddedIdMayBeWrittenInBothWays) {
  Json changed = good_;
  auto& vocab = changed["model"]["vocab"];
  const auto last = static_cast<int64_t>(vocab.size());
  for (auto& [token, id] : vocab.items()) {
    if (id == last - 1) id = last;  // a hole: added tokens keep the ids that the file gives
  }
  changed["added_tokens"] = Json::array();
  for (const char* content : {"#! #", "#!\u0120#"}) {
    changed["added_tokens"].push_back({{"id", 9000}, {"content", content}, {"special", true}});
  }
  const auto tokenizer = parse_native_tokenizer_json(changed.dump(), "t.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer.value()->encode("#! #").value(), std::vector<int32_t>{9000});
}

// The trainer put the token into the vocabulary as plain text.
TEST_F(HuggingFaceFile, AnAccentInASpecialTokenStaysOne) {
  Json changed = good_;
  const int64_t id = 3000;
  changed["model"]["vocab"]["<d\u00e9but>"] = id;
  changed["added_tokens"].insert(
      changed["added_tokens"].begin(),
      Json{{"id", id}, {"content", "<d\u00e9but>"}, {"special", true}, {"normalized", false}});
  const auto tokenizer = parse_native_tokenizer_json(changed.dump(), "t.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto ids = tokenizer.value()->encode("a<d\u00e9but>b").value();
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(ids[1], id);
  EXPECT_EQ(tokenizer.value()->decode(ids).value(), "a<d\u00e9but>b");
  // The ids between are holes and have no text.
  EXPECT_EQ(tokenizer.value()->vocab_size(), id + 1);
  EXPECT_EQ(tokenizer.value()->decode({{ids[0], 2500, ids[2]}}).value(), "ab");
}

TEST_F(HuggingFaceFile, DamageIsNamed) {
  expect_bad_files(parse([](Json& file) { file.erase("decoder"); }), {"'decoder' is missing"});
  expect_bad_files(parse([](Json& file) { file["model"].erase("merges"); }), {"model", "'merges'"});
  expect_bad_files(parse([](Json& file) {
                     file["model"]["merges"][3] = {"a", "QQQ"};
                   }),
                   {"t.json: model.merges[3]", "'QQQ'", "not in the vocabulary"});
  expect_bad_files(parse([](Json& file) { file["model"]["merges"][3] = "abc"; }),
                   {"model.merges[3]", "left right"});
  expect_bad_files(
      parse([](Json& file) { file["model"]["merges"][9] = file["model"]["merges"][3]; }),
      {"model.merges[9]", "given before"});
  expect_bad_files(
      parse([](Json& file) { file["model"]["vocab"]["a"] = file["model"]["vocab"]["b"]; }),
      {"'a'", "'b'", "both have the id"});
  expect_bad_files(parse([](Json& file) { file["model"]["vocab"]["a"] = "x"; }),
                   {"'a'", "no integer"});
  expect_bad_files(parse([](Json& file) { file["model"]["vocab"]["a"] = -1; }), {"'a'", "-1"});
  expect_bad_files(parse([](Json& file) { file["model"]["vocab"]["a"] = 1 << 24; }),
                   {"'a'", "16777216"});
  expect_bad_files(parse([](Json& file) { file["added_tokens"][0]["id"] = 5; }),
                   {"<|begin_of_text|>", "the id 5"});
  expect_bad_files(parse([](Json& file) { file["added_tokens"][0]["content"] = ""; }),
                   {"added_tokens[0]", "empty"});
  expect_bad_files(parse([](Json& file) { file["model"]["dropout"] = 0.1; }),
                   {"model.dropout", "null"});
  expect_bad_files(parse_tokenizer_json("{\"model\": {\"type\"", "t.json").status(),
                   {"not valid JSON"});
  expect_bad_files(parse_tokenizer_json("{\"model\": {}, \"model\": {}}", "t.json").status(),
                   {"twice"});
}

class Gpt2Files : public ::testing::Test {
 protected:
  static Status read(const std::string& vocab, const std::string& merges) {
    const auto description = parse_gpt2_files(vocab, "vocab.json", merges, "merges.txt");
    if (!description.ok()) return description.status();
    return create_bpe_tokenizer(description.value(), "vocab.json").status();
  }
  const std::string vocab_ = bpe_fixture_text("vocab.json");
  const std::string merges_ = bpe_fixture_text("merges.txt");
};

TEST_F(Gpt2Files, DamageIsNamed) {
  ASSERT_TRUE(read(vocab_, merges_).ok());
  ASSERT_TRUE(read(vocab_, merges_.substr(0, merges_.size() - 1)).ok());
  expect_bad_files(read(vocab_, merges_ + "th zzz\n"), {"merges.txt: line 1502", "'th zzz'",
                                                        "'zzz'", "not in the vocabulary", "again"});
  expect_bad_files(read(vocab_, merges_ + "q x\n"), {"line 1502", "'qx'"});
  expect_bad_files(read(vocab_, merges_ + "alone\n"), {"line 1502", "'alone'", "no merge"});
  expect_bad_files(read(vocab_, merges_ + "a b c\n"), {"line 1502", "no merge"});
  expect_bad_files(read(vocab_, merges_ + "a \n"), {"line 1502", "no merge"});
  expect_bad_files(read(vocab_, merges_ + "\xFF \xFE\n"), {"line 1502"});
  expect_bad_files(read(vocab_, merges_ + merges_.substr(merges_.find('\n') + 1)),
                   {"given before"});
  expect_bad_files(read("[1]", merges_), {"vocab.json", "object"});
  expect_bad_files(read("{\"a\": 1", merges_), {"vocab.json", "not valid JSON"});
  expect_bad_files(read("{\"a\": 1, \"a\": 2}", ""), {"vocab.json", "twice"});
  expect_bad_files(read("{\"a\": 1.5}", ""), {"vocab.json", "'a'"});
  expect_bad_files(read("{\"a\": 1, \"b\": 1}", ""), {"vocab.json", "'a' and 'b'"});
  expect_files_error(read("{}", ""), Code::kUnavailable, {"vocab.json", "byte 0x00"});
  Json without = Json::parse(vocab_);
  without.erase("!");
  expect_files_error(read(without.dump(), "#version: 0.2\n"), Code::kUnavailable, {"0x21", "'!'"});
}

TEST_F(Gpt2Files, LineEndsAndTheFirstLineDoNotMatter) {
  std::string merges = merges_.substr(merges_.find('\n') + 1);  // no #version
  for (size_t at = 0; (at = merges.find('\n', at)) != std::string::npos; at += 2) {
    merges.replace(at, 1, "\r\n");
  }
  const auto description = parse_gpt2_files(vocab_, "vocab.json", merges, "merges.txt");
  const auto tokenizer = create_bpe_tokenizer(description.value(), "vocab.json");
  EXPECT_EQ(tokenizer.value()->to_json(), bpe_fixture_tokenizer("gpt2")->to_json());
}

}  // namespace
}  // namespace leasehold
