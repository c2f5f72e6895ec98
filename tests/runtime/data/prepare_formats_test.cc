// Tests the formats that `leasehold prepare` reads, and that the number of threads changes nothing.
#include <filesystem>
#include <fstream>

#include "runtime/data/prepare.h"
#include "runtime/data/token_file.h"
#include "tests/runtime/data/bpe_fixture.h"
#include "tests/runtime/data/megatron_files.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

class PrepareFormatsTest : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
    return directory_ / name;
  }
  Status prepare(const Tokenizer& tokenizer, std::vector<std::string> inputs, double fraction = 0) {
    options_.inputs = std::move(inputs);
    options_.output_dir = directory_ / "out";
    options_.validation_fraction = fraction;
    return prepare_tokens(posix_files(), tokenizer, options_).status();
  }
  std::vector<int32_t> tokens(const std::string& name) {
    const TokenFile file = TokenFile::open(posix_files(), directory_ / ("out/" + name)).value();
    std::vector<int32_t> out(static_cast<size_t>(file.num_tokens()));
    EXPECT_TRUE(file.read(0, out, int64_t{1} << 31).ok());
    return out;
  }
  void expect_error(const Status& status, Code code, std::initializer_list<std::string> parts) {
    EXPECT_EQ(status.code(), code) << status.message();
    for (const std::string& part : parts) {
      EXPECT_NE(status.message().find(part), std::string::npos)
          << "'" << part << "' is not in: " << status.message();
    }
    EXPECT_FALSE(posix_files().exists(directory_ / "out"));
  }

  TemporaryDirectory directory_;
  PrepareOptions options_;
  std::unique_ptr<Tokenizer> byte_ = create_tokenizer("byte").value();
  std::unique_ptr<Tokenizer> gpt2_ = bpe_fixture_tokenizer("gpt2");
};

TEST_F(PrepareFormatsTest, ThreadsAndChunksChangeNoToken) {
  std::string text;
  for (const BpeVector& vector : bpe_fixture_vectors("gpt2")) text += vector.text + " and\n";
  const std::string input = write("all.txt", text);
  const std::vector<int32_t> expected = gpt2_->encode(text).value();
  options_.format = PrepareFormat::kBytes;  // some of the texts are not UTF-8
  for (const int num_threads : {1, 2, 5}) {
    for (const int64_t chunk_bytes : {100, 1777, 1 << 20}) {
      options_.num_threads = num_threads;
      options_.chunk_bytes = chunk_bytes;
      ASSERT_TRUE(prepare(*gpt2_, {input}).ok());
      EXPECT_EQ(tokens("train.bin"), expected) << num_threads << " " << chunk_bytes;
    }
  }
  const std::string json = read_file(posix_files(), directory_ / "out/tokenizer.json").value();
  EXPECT_EQ(parse_tokenizer_json(json, "t").value()->encode(text).value(), expected);
}

TEST_F(PrepareFormatsTest, ProgressCountsEveryByte) {
  std::vector<int64_t> seen;
  options_.on_progress = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 300);
    seen.push_back(done);
  };
  options_.chunk_bytes = 20;
  ASSERT_TRUE(
      prepare(*byte_, {write("a", std::string(100, 'a')), write("b", std::string(200, 'b'))}, 0.1)
          .ok());
  EXPECT_GT(seen.size(), 10u);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_EQ(seen.back(), 300);
}

TEST_F(PrepareFormatsTest, JsonLinesAreDocuments) {
  const std::string input =
      write("d.jsonl",
            "{\"text\": \"In the beginning\", \"id\": 1}\n\n{\"text\": \"\"}\r\n"
            "{\"text\": \"caf\\u00e9 \\ud83d\\ude00\\n\"}\n{\"text\":\"the end\"}");
  std::vector<int32_t> expected;
  for (const char* text : {"In the beginning", "caf\xC3\xA9 \xF0\x9F\x98\x80\n", "the end"}) {
    const std::vector<int32_t> ids = gpt2_->encode(text).value();
    expected.insert(expected.end(), ids.begin(), ids.end());
    expected.push_back(*gpt2_->end_of_document());
  }
  for (const int64_t chunk_bytes : {1, 30, 1 << 20}) {
    options_.chunk_bytes = chunk_bytes;
    ASSERT_TRUE(prepare(*gpt2_, {input}).ok());
    EXPECT_EQ(tokens("train.bin"), expected);
  }
  // Without a token that ends documents there are no documents; the cut moves back to the beginning
  // of a line.
  ASSERT_TRUE(prepare(*byte_, {input}, 0.1).ok());
  EXPECT_EQ(byte_->decode(tokens("validation.bin")).value(), "the end");
  options_.format = PrepareFormat::kText;
  ASSERT_TRUE(prepare(*byte_, {input}).ok());
  EXPECT_EQ(byte_->decode(tokens("train.bin")).value(), read_file(posix_files(), input).value());
}

TEST_F(PrepareFormatsTest, ALineThatIsNoDocumentIsNamed) {
  for (const int64_t chunk_bytes : {7, 1 << 20}) {
    options_.chunk_bytes = chunk_bytes;
    for (const auto& [line, part] :
         std::vector<std::pair<std::string, std::string>>{{"{\"text\": \"a\"", "not valid JSON"},
                                                          {"[1]", "not a JSON object"},
                                                          {"{\"txt\": \"a\"}", "no \"text\""},
                                                          {"{\"text\": 7}", "not a string"}}) {
      const std::string input =
          write("d.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n" + line + "\n{\"text\": 1}\n");
      expect_error(prepare(*byte_, {input}), Code::kBadData,
                   {input, "line 4: ", part, "--format text"});
      // Line numbers continue after the border to validation.
      expect_error(prepare(*byte_, {input}, 0.5), Code::kBadData, {"line 4: "});
    }
  }
}

TEST_F(PrepareFormatsTest, LlmcTokensAreCopiedAndChecked) {
  const std::vector<uint32_t> wide = {1, 70000, 2, 3, 4};
  std::string content = make_token_header(5, 4);
  content.append(reinterpret_cast<const char*>(wide.data()), 20);
  const std::string input = write("wide.bin", content);
  expect_error(prepare(*byte_, {input}), Code::kBadData, {input, "token 1 is 70000"});
  const std::vector<uint16_t> narrow = {1, 2, 3, 255};
  content = make_token_header(4, 2);
  content.append(reinterpret_cast<const char*>(narrow.data()), 8);
  // The format is recognised by its first bytes under any name.
  ASSERT_TRUE(prepare(*byte_, {write("narrow", content)}, 0.25).ok());
  EXPECT_EQ(tokens("train.bin"), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(tokens("validation.bin"), (std::vector<int32_t>{255}));
}

TEST_F(PrepareFormatsTest, MegatronPairsAreCutAtDocuments) {
  const MegatronFiles files =
      megatron_files<int32_t>(4, {{1, 2, 3}, {4, 5}, {6}, {7, 8, 9, 10}}, {0, 1, 3});
  const std::string idx = write("d.idx", files.idx), bin = write("d.bin", files.bin);
  for (const std::string& input : {idx, bin}) {
    ASSERT_TRUE(prepare(*byte_, {input}, 0.3).ok());
    EXPECT_EQ(tokens("train.bin"), (std::vector<int32_t>{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(tokens("validation.bin"), (std::vector<int32_t>{7, 8, 9, 10}));
    ASSERT_TRUE(prepare(*byte_, {input}).ok());
    EXPECT_EQ(tokens("train.bin").size(), 10u);
    std::filesystem::remove_all(directory_ / "out");
  }
  expect_error(prepare(*byte_, {idx, bin}), Code::kUsage, {"one dataset"});
  write("d.idx", files.idx.substr(0, files.idx.size() - 8));
  expect_error(prepare(*byte_, {bin}), Code::kBadData, {idx, "do not fit"});
  std::filesystem::remove(idx);
  expect_error(prepare(*byte_, {bin}), Code::kBadData, {bin, ".idx", "--format uint16"});
  options_.format = PrepareFormat::kMegatron;
  expect_error(prepare(*byte_, {bin}), Code::kMissingInput, {idx});
  expect_error(prepare(*byte_, {write("d.txt", "abc")}), Code::kBadData, {".idx or its .bin"});
}

TEST_F(PrepareFormatsTest, DamagedAndUnknownAreRefused) {
  expect_error(prepare(*byte_, {write("a.txt.gz", "\x1F\x8B\x08 and more")}), Code::kBadData,
               {"a.txt.gz", "damaged"});
  const std::string text = write("a.bin", "just some text");
  expect_error(prepare(*byte_, {text}), Code::kBadData, {text, "--format text"});
  options_.format = PrepareFormat::kLlmc;
  expect_error(prepare(*byte_, {text}), Code::kBadData, {text});
  EXPECT_EQ(parse_prepare_format("jsonl").value(), PrepareFormat::kJsonLines);
  const Status status = parse_prepare_format("csv").status();
  EXPECT_EQ(status.code(), Code::kUsage);
  EXPECT_NE(status.message().find("megatron"), std::string::npos) << status.message();
}

// docs/data.md has exactly one row for each format.
TEST_F(PrepareFormatsTest, AreThoseOfTheDocumentation) {
  const std::string document =
      read_file(posix_files(), LEASEHOLD_FIXTURES "/../../docs/data.md").value();
  const size_t begin = document.find("## What is read");
  std::string_view table = document;
  table = table.substr(begin, document.find("\n- ", begin) - begin);
  std::string documented = "auto";
  for (size_t at = table.find("\n| `--format`") + 2; (at = table.find("\n| `", at)) != table.npos;
       ++at) {
    std::string_view cell = table.substr(at + 3, table.find(" |", at + 3) - at - 3);
    while (!cell.empty()) {
      const size_t end = cell.find('`', 1);
      documented += fmt::format(", {}", cell.substr(1, end - 1));
      cell.remove_prefix(std::min(cell.size(), end + 3));
    }
  }
  const Status status = parse_prepare_format("?").status();
  EXPECT_NE(status.message().find("there are " + documented), std::string::npos)
      << documented << " is not in: " << status.message();
}

// Each byte of a piece takes tens of bytes of memory while it is merged.
TEST_F(PrepareFormatsTest, APieceOfMegabytesIsRefusedWithItsLine) {
  const std::string longest(4 << 20, '='), longer = longest + "=";
  expect_error(prepare(*gpt2_, {write("a.txt", "a\n" + longer + "\nb\n")}), Code::kBadData,
               {"a.txt: from line ", "4194305 bytes", "it begins '====", "at most 4194304"});
  expect_error(
      prepare(*gpt2_, {write("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"" + longer + "\"}\n")}),
      Code::kBadData, {"a.jsonl: line 2", "4194305 bytes"});
  EXPECT_TRUE(prepare(*gpt2_, {write("a.txt", "a\n" + longest + "\nb\n")}).ok());
}

TEST_F(PrepareFormatsTest, ATextWithoutAPlaceToCutIsRefused) {
  options_.chunk_bytes = 16 << 20;
  expect_error(prepare(*gpt2_, {write("a.txt", std::string(90 << 20, '='))}), Code::kBadData,
               {"a.txt", "break the text into lines"});
}

}  // namespace
}  // namespace leasehold
