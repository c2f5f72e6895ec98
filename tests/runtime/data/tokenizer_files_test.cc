// Tests the files of a folder that make up a tokenizer, and their neighbours that add to it.
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/data/reference_tokenizer.h"
#include "runtime/data/split_pattern.h"
#include "tests/runtime/data/bpe_fixture.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

using FolderJson = nlohmann::json;

class TokenizerFolder : public ::testing::Test {
 protected:
  void write(const std::string& name, const FolderJson& content) {
    std::ofstream(directory_ / name) << content.dump();
  }
  void write_text(const std::string& name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
  }
  void copy_vocab_merges() {
    for (const char* name : {"vocab.json", "merges.txt"}) write_text(name, bpe_fixture_text(name));
  }
  Result<std::unique_ptr<Tokenizer>> load(const std::string& name = "") {
    return load_tokenizer(posix_files(), name.empty() ? directory_.path() : directory_ / name,
                          {.python = "/there/is/no/python"});
  }
  TemporaryDirectory directory_;
};

FolderJson added_token(const std::string& content, bool lstrip = false) {
  return {{"content", content}, {"single_word", false}, {"lstrip", lstrip},
          {"rstrip", false},    {"normalized", false},  {"special", true}};
}

// The same tokenizer as a tokenizer.json.
TEST_F(TokenizerFolder, VocabAndMergesAreReadAsTheirClassDoes) {
  copy_vocab_merges();
  write("tokenizer_config.json",
        {{"tokenizer_class", "Qwen2TokenizerFast"},
         {"eos_token", "<|im_end|>"},
         {"bos_token", nullptr},
         {"added_tokens_decoder",
          {{"1757", added_token("<|im_start|>")}, {"1758", added_token("<|im_end|>")}}}});
  const auto tokenizer = load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  FolderJson whole = FolderJson::parse(bpe_fixture_tokenizer("gpt2")->to_json());
  whole["normalizer"] = {{"type", "NFC"}};
  whole["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"},
         {"pattern", {{"Regex", kQwen2Pattern}}},
         {"behavior", "Isolated"},
         {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  for (const int id : {1757, 1758}) {
    FolderJson entry = added_token(id == 1757 ? "<|im_start|>" : "<|im_end|>");
    entry["id"] = id;
    whole["added_tokens"].push_back(entry);
  }
  const auto same = parse_native_tokenizer_json(whole.dump(), "t.json").value();
  for (const std::string text :
       {"job_file.toml <|im_start|>", "e\xCC\x81t\xC3\xA9 12345 <|im_end|>\n<|endoftext|>"}) {
    EXPECT_EQ(tokenizer.value()->encode(text).value(), same->encode(text).value()) << text;
  }
  EXPECT_EQ(tokenizer.value()->decode({{1757}}).value(), "<|im_start|>");
  EXPECT_EQ(tokenizer.value()->end_of_document(), 1758);
  EXPECT_EQ(tokenizer.value()->beginning_of_document(), std::nullopt);
  // The file next to the data describes the whole tokenizer.
  const auto again = parse_native_tokenizer_json(tokenizer.value()->to_json(), "t.json").value();
  EXPECT_EQ(again->encode("12345 <|im_start|>").value(),
            same->encode("12345 <|im_start|>").value());
  EXPECT_EQ(again->end_of_document(), 1758);
}

TEST_F(TokenizerFolder, AClassThatIsNotKnownIsRefused) {
  copy_vocab_merges();
  for (const char* file : {"tokenizer_config.json", "config.json"}) {
    write(file, {{"tokenizer_class", "CLIPTokenizer"}});
    const Status status = load().status();
    EXPECT_EQ(status.code(), Code::kBadData);
    for (const char* part : {file, "CLIPTokenizer", "Qwen2Tokenizer", "save_pretrained"})
      EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    std::filesystem::remove(directory_ / file);
  }
  write("tokenizer_config.json", {{"split_special_tokens", true}});
  EXPECT_NE(load().status().message().find("split_special_tokens"), std::string::npos);
  write("tokenizer_config.json", {{"add_prefix_space", true}});
  EXPECT_EQ(load().status().code(), Code::kUnavailable);  // only the library can do this
}

TEST_F(TokenizerFolder, AMaskTakesTheSpaceBeforeIt) {
  copy_vocab_merges();
  FolderJson vocab = FolderJson::parse(bpe_fixture_text("vocab.json"));
  vocab["<mask>"] = 1757;
  write("vocab.json", vocab);
  write("tokenizer_config.json", {{"mask_token", "<mask>"}});
  write("config.json", {{"model_type", "roberta"}});
  const auto tokenizer = load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer.value()->encode("a  <mask>").value(),
            (std::vector<int32_t>{tokenizer.value()->encode("a").value()[0], 1757}));
}

TEST_F(TokenizerFolder, AddedTokensOfOldFoldersAreFound) {
  copy_vocab_merges();
  write("added_tokens.json", {{"<|im_start|>", 1757}, {"<|im_end|>", 1758}});
  write("special_tokens_map.json",
        {{"eos_token", added_token("<|im_end|>")}, {"pad_token", "<|nowhere|>"}});
  write("config.json", {{"model_type", "qwen2"}});
  const auto tokenizer = load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer.value()->encode("<|im_start|><|im_end|>").value(),
            (std::vector<int32_t>{1757, 1758}));
  EXPECT_EQ(tokenizer.value()->end_of_document(), 1758);
  ASSERT_FALSE(tokenizer.value()->notices().empty());
  EXPECT_NE(tokenizer.value()->notices()[0].find("<|nowhere|>"), std::string::npos);
}

// Each place is searched after those before it.
TEST_F(TokenizerFolder, TokensAroundDocumentsAreThoseOfTheFirstFileThatNamesThem) {
  FolderJson json = FolderJson::parse(bpe_fixture_text("llama3/tokenizer.json"));
  const auto id_of = [&](const std::string& content) {
    for (const auto& entry : json["added_tokens"]) {
      if (entry["content"] == content) return entry["id"].get<int32_t>();
    }
    return -1;
  };
  const int32_t begin = id_of("<|begin_of_text|>"), end = id_of("<|end_of_text|>"),
                tool = id_of("<tool>"), tools = id_of("<tools>");
  const auto expect_ends = [&](std::vector<int32_t> ends) {
    const auto tokenizer = load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    const auto found = tokenizer.value()->end_tokens();
    EXPECT_EQ(std::vector<int32_t>(found.begin(), found.end()), ends);
    const auto again = parse_native_tokenizer_json(tokenizer.value()->to_json(), "t").value();
    EXPECT_EQ(again->document_tokens(), tokenizer.value()->document_tokens());
  };
  write("tokenizer.json", json);
  expect_ends({end});  // by its well-known name
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<|begin_of_text|>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
        {{"SpecialToken", {{"id", "<tool>"}, {"type_id", 0}}}}}},
      {"special_tokens",
       {{"<|begin_of_text|>", {{"ids", {begin}}}}, {"<tool>", {{"ids", {tool}}}}}}};
  write("tokenizer.json", json);
  expect_ends({tool});
  EXPECT_EQ(load().value()->beginning_of_document(), begin);
  write("config.json", {{"eos_token_id", tools}, {"bos_token_id", end}});
  expect_ends({tools});
  write("generation_config.json",
        {{"eos_token_id", {end, tool, 99999}}, {"bos_token_id", nullptr}});
  expect_ends({end, tool, tools});
  EXPECT_NE(load().value()->notices().at(0).find("99999"), std::string::npos);
  write("special_tokens_map.json", {{"eos_token", {{"content", "<tool>"}}}});
  expect_ends({tool, end, tools});
  write("tokenizer_config.json", {{"eos_token", "<tools>"}, {"bos_token", nullptr}});
  expect_ends({tools, end, tool});
  EXPECT_EQ(load().value()->beginning_of_document(), std::nullopt);
  // A file of another name has no neighbours that belong to it, and a note ends the search.
  write("other.json", json);
  EXPECT_EQ(load("other.json").value()->end_of_document(), tool);
  write_text("tokenizer.json", add_document_tokens(json.dump(), {std::nullopt, {5}}));
  expect_ends({5});
  write_text("tokenizer_config.json", "{");
  write("tokenizer.json", json);
  EXPECT_NE(load().status().message().find("tokenizer_config.json"), std::string::npos);
}

TEST_F(TokenizerFolder, APointerOfGitLfsIsNamed) {
  write_text("tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:12\n");
  const Status status = load().status();
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("git lfs pull"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace leasehold
