// Tests which inputs `leasehold prepare` reads as text, unpacks, copies and refuses.
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include "runtime/data/input_spool.h"
#include "runtime/data/prepare.h"
#include "runtime/data/token_file.h"
#include "tests/runtime/data/bpe_fixture.h"
#include "tests/runtime/data/packed_files.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

using namespace std::string_literals;

class PrepareInputsTest : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
    return directory_ / name;
  }
  Status prepare(const Tokenizer& tokenizer, std::vector<std::string> inputs, double fraction = 0) {
    options_.inputs = std::move(inputs);
    options_.output_dir = directory_ / "out";
    options_.validation_fraction = fraction;
    options_.on_notice = [&](const std::string& notice) { notices_ += notice + "\n"; };
    return prepare_tokens(posix_files(), tokenizer, options_).status();
  }
  std::string file(const std::string& name) {
    return read_file(posix_files(), directory_ / ("out/" + name)).value();
  }
  std::string text(const std::string& name) {
    const TokenFile tokens = TokenFile::open(posix_files(), directory_ / ("out/" + name)).value();
    std::vector<int32_t> ids(static_cast<size_t>(tokens.num_tokens()));
    EXPECT_TRUE(tokens.read(0, ids, 256).ok());
    return byte_->decode(ids).value();
  }
  void expect_refused(const std::string& name, const std::string& content,
                      std::initializer_list<std::string> parts) {
    const std::string path = write(name, content);
    const Status status = prepare(*byte_, {path});
    EXPECT_EQ(status.code(), Code::kBadData) << name << ": " << status.message();
    EXPECT_NE(status.message().find("input " + path), std::string::npos) << status.message();
    for (const std::string& part : parts) {
      EXPECT_NE(status.message().find(part), std::string::npos)
          << "'" << part << "' is not in: " << status.message();
    }
    EXPECT_FALSE(std::filesystem::exists(directory_ / "out"));
  }

  TemporaryDirectory directory_;
  PrepareOptions options_;
  std::string notices_;
  std::unique_ptr<Tokenizer> byte_ = create_tokenizer("byte").value();
  std::unique_ptr<Tokenizer> gpt2_ = bpe_fixture_tokenizer("gpt2");
};

TEST_F(PrepareInputsTest, ContainersAreRefusedByNameWhateverTheyAreCalled) {
  for (const char* name : {"a.txt", "a", "a.jsonl", "a.data"}) {
    expect_refused(name, "PK\x03\x04 and more", {"a zip archive", "unzip"});
    expect_refused(name, "\x04\x22\x4D\x18....", {"an LZ4 file", "unlz4"});
    expect_refused(name, "%PDF-1.4\n1 0 obj", {"a PDF document", "pdftotext"});
    expect_refused(name, "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
                   {"a Git LFS pointer", "git lfs pull"});
    expect_refused(name, "\x89PNG\r\n\x1A\n\0\0"s, {"a PNG picture"});
    expect_refused(name, "\x93NUMPY\x01\0"s, {"a numpy array", "--format uint16"});
    expect_refused(name, "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
                   {"an XML error message"});
  }
  options_.format = PrepareFormat::kText;
  expect_refused("t.txt", "SQLite format 3\0"s, {"an SQLite database", "--format bytes"});
  options_.format = PrepareFormat::kBytes;
  ASSERT_TRUE(prepare(*byte_, {write("z.zip", "PK\x03\x04\xFF\0"s)}).ok());
  EXPECT_EQ(text("train.bin"), "PK\x03\x04\xFF\0"s);
}

TEST_F(PrepareInputsTest, OtherEncodingsAreRefusedByNameOrPlace) {
  expect_refused("a.txt", "\xFF\xFEh\0e\0l\0l\0o\0"s,
                 {"UTF-16, little-endian", "iconv -f UTF-16LE -t UTF-8"});
  expect_refused("a.jsonl", "\0h\0e\0l\0l\0o"s, {"UTF-16, big-endian"});
  expect_refused("a.txt", "caf\xE9 au lait\n", {"0xE9 at offset 3 (line 1)", "WINDOWS-1252"});
  expect_refused("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xE9\"}\n", {"0xE9", "(line 2)"});
  expect_refused("a.txt", std::string(5000, 'a') + "\n" + '\0', {"a NUL at offset 5001 (line 2)"});
  expect_refused("a.txt", "cut \xE2\x98", {"ends inside a character, at offset 4"});
  // After the border to validation, and in small chunks.
  options_.chunk_bytes = 7;
  const std::string path = write("b.txt", std::string(100, 'b') + "\xFF" + "bb");
  const Status status = prepare(*byte_, {path}, 0.5);
  EXPECT_NE(status.message().find("0xFF at offset 100"), std::string::npos) << status.message();
}

TEST_F(PrepareInputsTest, AMarkOfUtf8IsLeftOut) {
  for (const int64_t chunk_bytes : {1, 2, 100}) {
    options_.chunk_bytes = chunk_bytes;
    ASSERT_TRUE(prepare(*byte_, {write("a.txt", "\xEF\xBB\xBFthe text")}, 0.5).ok());
    EXPECT_EQ(text("train.bin") + text("validation.bin"), "the text");
  }
  ASSERT_TRUE(prepare(*byte_, {write("a.jsonl", "\xEF\xBB\xBF{\"text\": \"b\"}\n")}).ok());
  EXPECT_EQ(text("train.bin"), "b");
  options_.format = PrepareFormat::kBytes;
  ASSERT_TRUE(prepare(*byte_, {write("a.txt", "\xEF\xBB\xBF.")}).ok());
  EXPECT_EQ(text("train.bin"), "\xEF\xBB\xBF.");
}

TEST_F(PrepareInputsTest, BytesComeBackAsTheyAre) {
  std::string all;
  for (int i = 0; i < 2000; ++i) all += static_cast<char>(i * 7 + i / 256);
  options_.format = PrepareFormat::kBytes;
  for (const int64_t chunk_bytes : {1, 13, 4096}) {
    options_.chunk_bytes = chunk_bytes;
    ASSERT_TRUE(prepare(*byte_, {write("a.bin", all)}, 0.1).ok());
    EXPECT_EQ(text("train.bin") + text("validation.bin"), all);
    EXPECT_NEAR(static_cast<double>(text("validation.bin").size()), 200, 4);
  }
}

// A packed file gives exactly the same output as its content.
TEST_F(PrepareInputsTest, PackedFilesAreReadAsTheirContent) {
  std::string lines, prose;
  for (int i = 0; i < 300; ++i) {
    lines += fmt::format("{{\"text\": \"document {} \xC3\xA9t\xC3\xA9\"}}\n", i * i);
    prose += fmt::format("In the beginning {} \xE2\x98\xBA\n", i);
  }
  for (const auto& [name, content] : {std::pair("a.jsonl"s, lines), std::pair("b.txt"s, prose)}) {
    for (const double fraction : {0.0, 0.1, 0.37}) {
      options_.chunk_bytes = 1000;
      ASSERT_TRUE(prepare(*gpt2_, {write(name, content)}, fraction).ok());
      const std::string train = file("train.bin");
      const std::string validation = fraction > 0 ? file("validation.bin") : "";
      for (const Packing packing : kAllPackings) {
        const std::string bytes = packed(packing, content);
        std::vector<int64_t> progress;
        options_.on_progress = [&](int64_t done, int64_t total) {
          EXPECT_EQ(total, std::ssize(bytes) * (fraction > 0 ? 2 : 1));
          progress.push_back(done);
        };
        // The last suffix of the name does not matter, but the one before it does.
        const Status status = prepare(*gpt2_, {write(name + ".gz", bytes)}, fraction);
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_EQ(file("train.bin"), train) << packing_name(packing) << " " << fraction;
        if (fraction > 0) {
          EXPECT_EQ(file("validation.bin"), validation);
        }
        EXPECT_TRUE(std::ranges::is_sorted(progress));
        EXPECT_EQ(progress.back(), std::ssize(bytes) * (fraction > 0 ? 2 : 1));
        options_.on_progress = nullptr;
      }
    }
  }
}

TEST_F(PrepareInputsTest, WhatPackedFilesHoldIsLookedAt) {
  const std::string tar =
      "docs/a.txt" + std::string(247, '\0') + "ustar\00000"s + std::string(248, '\0');
  expect_refused("a.tar.gz", gzipped(tar), {"a tar archive (inside gzip)", "tar -xf"});
  expect_refused("a.txt.gz", gzipped("\xFF\xFEh\0e\0"s), {"UTF-16", "(inside gzip)"});
  expect_refused("a.txt.gz", gzipped("caf\xE9 "), {"0xE9 at offset 3"});
  expect_refused("a.bin.gz", gzipped(make_token_header(0, 2)), {"holds tokens", "unpack it first"});
  expect_refused("a.gz", gzipped(""), {"empty, unpacked"});
  const std::string good = gzipped(std::string(100000, 'a'));
  expect_refused("a.txt.gz", good.substr(0, good.size() / 2), {"cut off", "offset"});
}

TEST_F(PrepareInputsTest, ANamedPipeThatNobodyOpensEndsWithTheWish) {
  const std::string pipe = directory_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  int asked = 0;
  const Status status = spool_stream(posix_files(), pipe, directory_ / "copy", [&] {
    return ++asked < 3 ? ok_status() : error(Code::kDrained, "stopped");
  });
  EXPECT_EQ(status.code(), Code::kDrained);
}

TEST_F(PrepareInputsTest, StreamsAreCopiedAndRemoved) {
  const std::string pipe = directory_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto through_pipe = [&](const std::string& content, double fraction) {
    std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << content; });
    const Status status = prepare(*byte_, {pipe}, fraction);
    writer.join();
    return status;
  };
  ASSERT_TRUE(through_pipe("abcdefgh", 0.25).ok());
  EXPECT_EQ(text("train.bin"), "abcdef");
  EXPECT_EQ(text("validation.bin"), "gh");
  EXPECT_EQ(posix_files().list(directory_ / "out").value().size(), 3u);
  // JSON lines are recognised by their first characters, also when packed.
  ASSERT_TRUE(through_pipe(gzipped("{\"text\": \"one\"}\n{\"text\": \"two\"}\n"), 0).ok());
  EXPECT_EQ(text("train.bin"), "onetwo");
  std::filesystem::remove_all(directory_ / "out");
  EXPECT_EQ(through_pipe("", 0).code(), Code::kBadData);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "out"));
  const Status bad = through_pipe("ok\n\xFF", 0);
  EXPECT_NE(bad.message().find("input " + pipe + ": the byte 0xFF at offset 3 (line 2)"),
            std::string::npos)
      << bad.message();
  const Status twice = prepare(*byte_, {"-", "-"});
  EXPECT_EQ(twice.code(), Code::kUsage);
  const std::atomic<bool> stopped = true;
  options_.stopped = &stopped;
  const int held = ::open(pipe.c_str(), O_RDWR);  // a writer that writes nothing
  EXPECT_EQ(prepare(*byte_, {pipe}).code(), Code::kDrained);
  ::close(held);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "out"));
}

TEST_F(PrepareInputsTest, TokensWithoutAHeader) {
  const std::vector<uint16_t> narrow = {1, 2, 3, 255};
  const std::string bytes(reinterpret_cast<const char*>(narrow.data()), 8);
  expect_refused("train.bin", bytes, {"nanoGPT", "--format uint16"});
  expect_refused("odd.bin", bytes + "1", {"no llm.c token file"});
  options_.format = PrepareFormat::kUint16;
  ASSERT_TRUE(prepare(*byte_, {write("train.bin", bytes)}, 0.25).ok());
  EXPECT_EQ(text("train.bin"), "\1\2\3");
  EXPECT_EQ(text("validation.bin"), "\xFF");
  std::filesystem::remove_all(directory_ / "out");
  expect_refused("odd.bin", bytes + "1", {"9 bytes", "no whole number of tokens"});
  expect_refused("wide.bin", bytes + "\0\1"s, {"token 4 is 256", "ids 0 to 255"});
  options_.format = PrepareFormat::kUint32;
  const std::vector<uint32_t> wide = {5, 6};
  ASSERT_TRUE(
      prepare(*byte_, {write("w.bin", {reinterpret_cast<const char*>(wide.data()), 8})}).ok());
  EXPECT_EQ(text("train.bin"), "\5\6");
}

TEST_F(PrepareInputsTest, DocumentsLieInTheFieldThatIsNamed) {
  const std::string line =
      "{\"id\": 1, \"body\": \"one\", \"meta\": {\"text\": \"two\", \"n\": null}, \"a.b\": "
      "\"three\"}\n";
  const std::string path = write("a.jsonl", line);
  for (const auto& [field, expected] :
       {std::pair("body", "one"), std::pair("meta.text", "two"), std::pair("a.b", "three")}) {
    options_.field = field;
    ASSERT_TRUE(prepare(*byte_, {path}).ok());
    EXPECT_EQ(text("train.bin"), expected);
  }
  std::filesystem::remove_all(directory_ / "out");
  for (const auto& [field, part] :
       {std::pair("text", "no \"text\": it has \"a.b\", \"body\", \"id\", \"meta\""),
        std::pair("meta.body", "no \"body\" in \"meta\": it has \"n\", \"text\""),
        std::pair("id", "\"id\" is not a string but number"),
        std::pair("meta.n", "\"meta.n\" is not a string but null"),
        std::pair("body.x", "\"body\" is string, not an object with \"x\"")}) {
    options_.field = field;
    expect_refused("a.jsonl", line, {"line 1: ", part});
  }
  options_.field = "body";
  const Status status = prepare(*byte_, {write("t.txt", "text")});
  EXPECT_EQ(status.code(), Code::kUsage);
  EXPECT_NE(status.message().find("--field body"), std::string::npos) << status.message();
}

TEST_F(PrepareInputsTest, JsonThatIsNoneSaysColumnAndReason) {
  expect_refused("a.jsonl", "{\"text\": \"a\"}\n{\"text\":\"a\\ud83d b\"}\n",
                 {"line 2: not valid JSON: column 17", "surrogate", "cut a character in two"});
  expect_refused("a.jsonl", "[{\"text\": \"a\"}]\n", {"a JSON array", "jq"});
  expect_refused("a.jsonl", "<html>", {"an HTML page", "not JSON lines"});
  ASSERT_TRUE(prepare(*byte_, {write("a.html", "<html>")}).ok());
  EXPECT_NE(notices_.find("an HTML page"), std::string::npos) << notices_;
}

TEST_F(PrepareInputsTest, BadLinesAreLeftOutAndCountedWhereThatIsAllowed) {
  std::string lines;
  for (int i = 0; i < 50; ++i) lines += i % 20 == 7 ? "{\"text\": 5}\n" : "{\"text\": \"a\"}\n";
  for (const int threads : {1, 3}) {
    options_.num_threads = threads;
    options_.chunk_bytes = 40;
    options_.most_bad_lines = 0;
    expect_refused("a.jsonl", lines, {"line 8", "not a string"});
    options_.most_bad_lines = 2;
    expect_refused("a.jsonl", lines, {"more than 2 lines", "line 8", "not a string"});
  }
  options_.most_bad_lines = 3;
  ASSERT_TRUE(prepare(*byte_, {write("a.jsonl", lines)}).ok());
  EXPECT_EQ(text("train.bin"), std::string(47, 'a'));
  EXPECT_NE(notices_.find("3 lines left out, the first: input "), std::string::npos) << notices_;
  EXPECT_NE(notices_.find("line 8"), std::string::npos) << notices_;
}

// A line of brackets alone would become gigabytes of values before it proves to be no JSON.
TEST_F(PrepareInputsTest, JsonThatNestsDeeplyIsRefusedBeforeItIsRead) {
  const auto nested = [](int levels) {
    return "{\"text\": \"a\", \"more\": " + std::string(levels, '[') + std::string(levels, ']') +
           "}\n";
  };
  expect_refused("a.jsonl", nested(1) + nested(512), {"line 2", "nested deeper than 512 levels"});
  expect_refused("a.jsonl", "{\"text\": " + std::string(1 << 20, '['),
                 {"line 1", "nested deeper than 512 levels"});
  // Brackets in strings count for nothing.
  const std::string text = "{\"text\": \"" + std::string(2000, '[') + "\\\"[\"}\n";
  EXPECT_TRUE(prepare(*byte_, {write("brackets.jsonl", text)}).ok());
  EXPECT_TRUE(prepare(*byte_, {write("deep.jsonl", nested(511) + nested(3))}).ok());
}

TEST_F(PrepareInputsTest, DocumentsStandBetweenTheirTokens) {
  const std::string path =
      write("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\"}\n{\"text\": \"b\"}\n");
  byte_->set_document_tokens({.begin = '<', .ends = {'>', '!'}});
  ASSERT_TRUE(prepare(*byte_, {path}).ok());
  EXPECT_EQ(text("train.bin"), "a>b>");
  options_.begin_documents = true;
  ASSERT_TRUE(prepare(*byte_, {path}, 0.3).ok());
  EXPECT_EQ(text("train.bin") + "|" + text("validation.bin"), "<a>|<b>");
  const auto again = parse_tokenizer_json(file("tokenizer.json"), "t").value();
  EXPECT_EQ(again->document_tokens(), byte_->document_tokens());
  options_.end_documents = false;
  ASSERT_TRUE(prepare(*byte_, {path}).ok());
  EXPECT_EQ(text("train.bin"), "<a<b");
  EXPECT_EQ(notices_, "");
  options_.document_options_given = true;
  const Status status = prepare(*byte_, {write("a.txt", "a")});
  EXPECT_EQ(status.code(), Code::kUsage);
  EXPECT_NE(status.message().find("--begin-token"), std::string::npos) << status.message();
}

TEST_F(PrepareInputsTest, DocumentsWithoutAnEndAreSaid) {
  const std::string path = write("a.jsonl", "{\"text\": \"a\"}\n");
  ASSERT_TRUE(prepare(*byte_, {path}).ok());
  EXPECT_NE(notices_.find("--end-token"), std::string::npos) << notices_;
  notices_.clear();
  options_.end_documents = false;
  ASSERT_TRUE(prepare(*byte_, {path}).ok());
  options_.end_documents = true;
  ASSERT_TRUE(prepare(*byte_, {write("a.txt", "a")}).ok());
  ASSERT_TRUE(prepare(*gpt2_, {path}).ok());
  EXPECT_EQ(notices_, "");
}

}  // namespace
}  // namespace leasehold
