#include "runtime/data/prepare.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>

#include "runtime/data/token_file.h"
#include "tests/support/faulty_files.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

// Makes ids of words: the length plus 70000. The ids are wide, and the end of a chunk must not cut
// a word in two.
class WordTokenizer : public Tokenizer {
 public:
  std::string_view name() const override { return "word"; }
  int64_t vocab_size() const override { return 80000; }
  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    while (!text.empty()) {
      const size_t end = std::min(text.find(' '), text.size() - 1) + 1;
      ids.push_back(70000 + static_cast<int32_t>(end));
      text.remove_prefix(end);
    }
    return ids;
  }
  Result<std::string> decode(std::span<const int32_t>) const override { return std::string(); }
  int64_t separable_prefix(std::string_view text) const override {
    const size_t space = text.rfind(' ');
    return space == std::string_view::npos ? 0 : static_cast<int64_t>(space) + 1;
  }
  std::optional<int32_t> token_id(std::string_view) const override { return std::nullopt; }

 protected:
  std::string description() const override { return "{\"name\": \"word\"}"; }
};

class PrepareTest : public ::testing::Test {
 protected:
  std::string input(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name, std::ios::binary) << text;
    return directory_ / name;
  }

  PrepareOptions options(std::vector<std::string> inputs, double fraction = 0.25) {
    PrepareOptions result;
    result.inputs = std::move(inputs);
    result.output_dir = directory_ / "out";
    result.validation_fraction = fraction;
    result.chunk_bytes = 3;
    return result;
  }

  Result<PrepareSummary> prepare(const PrepareOptions& options) {
    return prepare_tokens(posix_files(), *byte_, options);
  }

  std::vector<int32_t> tokens(const std::string& name, int64_t vocab = 256) {
    const TokenFile file =
        TokenFile::open(posix_files(), (directory_ / "out") + "/" + name).value();
    std::vector<int32_t> out(static_cast<size_t>(file.num_tokens()));
    EXPECT_TRUE(file.read(0, out, vocab).ok());
    return out;
  }
  std::string text(const std::string& name) { return byte_->decode(tokens(name)).value(); }

  std::vector<std::string> outputs() {
    const auto names = posix_files().list(directory_ / "out");
    return names.ok() ? names.value() : std::vector<std::string>{"no directory"};
  }

  const std::vector<std::string> all_outputs_ = {"tokenizer.json", "train.bin", "validation.bin"};
  const std::vector<std::string> no_outputs_ = {"no directory"};
  TemporaryDirectory directory_;
  std::unique_ptr<Tokenizer> byte_ = create_tokenizer("byte").value();
};

TEST_F(PrepareTest, SplitsEveryFileAtItsEnd) {
  const auto summary =
      prepare(options({input("a", "abcdefgh"), input("b", "ABCD"), input("c", "xyz")}));
  ASSERT_TRUE(summary.ok()) << summary.status().message();
  EXPECT_EQ(text("train.bin"), "abcdefABCxyz");
  EXPECT_EQ(text("validation.bin"), "ghD");
  EXPECT_EQ(outputs(), all_outputs_);
  EXPECT_EQ(summary.value().input_bytes, 15);
  EXPECT_EQ(summary.value().train_tokens, 12);
  EXPECT_EQ(summary.value().validation_tokens, 3);
  const std::string json =
      read_file(posix_files(), (directory_ / "out") + "/tokenizer.json").value();
  EXPECT_EQ(parse_tokenizer_json(json, "tokenizer.json").value()->name(), "byte");
}

TEST_F(PrepareTest, ChunkSizesDoNotMatter) {
  std::string all(1000, '\0');
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i * 7);
  PrepareOptions chosen = options({input("a", all)});
  chosen.format = PrepareFormat::kBytes;
  for (const int64_t chunk_bytes : {1, 7, 999, 1000, 5000}) {
    chosen.chunk_bytes = chunk_bytes;
    ASSERT_TRUE(prepare(chosen).ok());
    EXPECT_EQ(text("train.bin") + text("validation.bin"), all);
  }
}

TEST_F(PrepareTest, NeverCutsACharacterOfUtf8) {
  // A character has three bytes: a quarter of 12 bytes is 3, of 24 is 6, of 6 is 1.
  const std::string smile = "\xE2\x98\xBA";
  ASSERT_TRUE(prepare(options({input("a", smile + smile)})).ok());
  EXPECT_EQ(text("train.bin"), smile);
  EXPECT_EQ(text("validation.bin"), smile);
  ASSERT_TRUE(prepare(options({input("a", "abc" + smile + "d")}, 0.3)).ok());
  EXPECT_EQ(text("train.bin"), "abc");
  EXPECT_EQ(text("validation.bin"), smile + "d");
  // Bytes that are not UTF-8 are cut exactly at the fraction.
  PrepareOptions bytes = options({input("a", std::string(8, '\x80'))});
  bytes.format = PrepareFormat::kBytes;
  ASSERT_TRUE(prepare(bytes).ok());
  EXPECT_EQ(text("validation.bin").size(), 2u);
}

TEST_F(PrepareTest, ASecondPreparationReplacesTheFirst) {
  ASSERT_TRUE(prepare(options({input("a", "abcdefgh")})).ok());
  ASSERT_TRUE(prepare(options({input("b", "ABCD")})).ok());
  EXPECT_EQ(text("train.bin"), "ABC");
  ASSERT_TRUE(prepare(options({input("b", "ABCD")}, 0)).ok());
  EXPECT_EQ(text("train.bin"), "ABCD");
  EXPECT_EQ(outputs(), (std::vector<std::string>{"tokenizer.json", "train.bin"}));
}

TEST_F(PrepareTest, WideTokensAndTokenizersThatLookAhead) {
  PrepareOptions chosen = options({input("a", "a bb ccc dddd e ffffffffffff gg hh")}, 0.15);
  for (const int64_t chunk_bytes : {1, 4, 100}) {
    chosen.chunk_bytes = chunk_bytes;
    const auto summary = prepare_tokens(posix_files(), WordTokenizer(), chosen);
    ASSERT_TRUE(summary.ok()) << summary.status().message();
    EXPECT_EQ(tokens("train.bin", 80000),
              (std::vector<int32_t>{70002, 70003, 70004, 70005, 70002, 70013}));
    EXPECT_EQ(tokens("validation.bin", 80000), (std::vector<int32_t>{70003, 70002}));
    EXPECT_EQ(
        TokenFile::open(posix_files(), (directory_ / "out") + "/train.bin").value().token_bytes(),
        4);
  }
}

TEST_F(PrepareTest, BadInputs) {
  const auto expect = [&](const PrepareOptions& chosen, Code code, const std::string& part) {
    const Status status = prepare(chosen).status();
    EXPECT_EQ(status.code(), code) << status.message();
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    EXPECT_EQ(outputs(), no_outputs_) << status.message();
  };
  const std::string good = input("good", "abcdefgh");
  expect(options({}), Code::kUsage, "no input");
  expect(options({good, directory_ / "gone"}), Code::kMissingInput, directory_ / "gone");
  expect(options({good, directory_.path()}), Code::kMissingInput, directory_.path());
  expect(options({good, input("empty", "")}), Code::kBadData, directory_ / "empty");
  expect(options({input("tiny", "abc")}), Code::kBadData, "validation.bin");
  expect(options({input("tiny", "abc")}), Code::kBadData, "--validation-fraction");
  for (const double fraction : {-0.1, 1.0, 2.0, std::numeric_limits<double>::quiet_NaN()}) {
    expect(options({good}, fraction), Code::kUsage, "validation fraction");
  }
}

TEST_F(PrepareTest, AnOutputThatIsAFileIsAStorageError) {
  PrepareOptions chosen = options({input("a", "abcdefgh")});
  chosen.output_dir = input("file", "x");
  EXPECT_EQ(prepare(chosen).status().code(), Code::kStorage);
  chosen.output_dir = (directory_ / "file") + "/sub";
  EXPECT_EQ(prepare(chosen).status().code(), Code::kStorage);
}

TEST_F(PrepareTest, StopsWhenAsked) {
  const std::atomic<bool> stopped = true;
  PrepareOptions chosen = options({input("a", "abcdefgh")});
  chosen.stopped = &stopped;
  EXPECT_EQ(prepare(chosen).status().code(), Code::kDrained);
  EXPECT_EQ(outputs(), no_outputs_);
}

// Prepares on a file system in memory that fails on request.
class PrepareOnFaultyFilesTest : public ::testing::Test {
 protected:
  PrepareOnFaultyFilesTest() {
    files_.set_content("old", "OLDTEXT!");
    files_.set_content("new", "abcdefgh");
  }

  Status prepare(const std::string& input) {
    PrepareOptions options;
    options.inputs = {input};
    options.output_dir = "out";
    options.validation_fraction = 0.25;
    options.chunk_bytes = 3;
    options.on_notice = [this](const std::string& notice) { notices_ += notice + "\n"; };
    return prepare_tokens(files_, *byte_, options).status();
  }

  std::vector<std::string> outputs() { return files_.list("out").value(); }

  std::string text() {
    std::string all;
    for (const char* name : {"out/train.bin", "out/validation.bin"}) {
      const TokenFile file = TokenFile::open(files_, name).value();
      std::vector<int32_t> ids(static_cast<size_t>(file.num_tokens()));
      EXPECT_TRUE(file.read(0, ids, 256).ok());
      all += byte_->decode(ids).value();
    }
    return all;
  }

  int64_t changes_of_a_preparation() {
    EXPECT_TRUE(prepare("old").ok());
    const int64_t before = files_.num_changes();
    EXPECT_TRUE(prepare("new").ok());
    return files_.num_changes() - before;
  }

  const std::vector<std::string> all_outputs_ = {"tokenizer.json", "train.bin", "validation.bin"};
  std::string notices_;
  FaultyFiles files_;
  std::unique_ptr<Tokenizer> byte_ = create_tokenizer("byte").value();
};

// No temporary file stays, and the old set exists, whichever change fails. The last changes remove
// what was replaced: by then the new set is complete, and a failure is told.
TEST_F(PrepareOnFaultyFilesTest, AFailureLeavesNothingHalf) {
  const int64_t num_changes = changes_of_a_preparation();
  constexpr int64_t kRemovals = 3;
  ASSERT_GT(num_changes, 18);
  for (int64_t n = 0; n < num_changes - kRemovals; ++n) {
    ASSERT_TRUE(prepare("old").ok());
    files_.fail_change(files_.num_changes() + n);
    ASSERT_EQ(prepare("new").code(), Code::kStorage) << "change " << n;
    ASSERT_EQ(outputs(), all_outputs_) << "change " << n;
    ASSERT_EQ(text(), "OLDTEXT!") << "change " << n;
  }
  for (int64_t n = num_changes - kRemovals; n < num_changes; ++n) {
    ASSERT_TRUE(prepare("old").ok());
    files_.fail_change(files_.num_changes() + n);
    notices_.clear();
    ASSERT_TRUE(prepare("new").ok()) << "change " << n;
    EXPECT_EQ(text(), "abcdefgh") << "change " << n;
    EXPECT_NE(notices_.find(".before."), std::string::npos) << notices_;
  }
}

// A failure leaves no set if there was none.
TEST_F(PrepareOnFaultyFilesTest, AFailureOfTheFirstPreparationLeavesNone) {
  const int64_t begin = files_.num_changes();
  ASSERT_TRUE(prepare("new").ok());
  const int64_t num_changes = files_.num_changes() - begin;
  ASSERT_GT(num_changes, 10);
  for (int64_t n = 0; n < num_changes; ++n) {
    ASSERT_TRUE(files_.remove_all("out").ok());
    files_.fail_change(files_.num_changes() + n);
    ASSERT_EQ(prepare("new").code(), Code::kStorage) << "change " << n;
    EXPECT_FALSE(files_.exists("out/train.bin")) << "change " << n;
    EXPECT_FALSE(files_.exists("out/tokenizer.json")) << "change " << n;
  }
}

TEST_F(PrepareOnFaultyFilesTest, AFullDiskKeepsWhatWasThere) {
  ASSERT_TRUE(prepare("old").ok());
  files_.set_content("new", std::string(100000, 'x'));
  files_.set_capacity(150000);
  EXPECT_EQ(prepare("new").code(), Code::kStorage);
  EXPECT_EQ(outputs(), all_outputs_);
  EXPECT_EQ(text(), "OLDTEXT!");
}

TEST_F(PrepareOnFaultyFilesTest, WhatWasReportedDoneSurvivesALossOfPower) {
  ASSERT_TRUE(prepare("new").ok());
  files_.crash_now();
  files_.restart(FaultyFiles::Loss::kUnsynced);
  EXPECT_EQ(outputs(), all_outputs_);
  EXPECT_EQ(text(), "abcdefgh");
}

TEST_F(PrepareOnFaultyFilesTest, ANewDirectoryDoesNotSurviveAFailure) {
  files_.fail_change(files_.num_changes() + 4);
  EXPECT_EQ(prepare("new").code(), Code::kStorage);
  EXPECT_FALSE(files_.exists("out"));
}

TEST_F(PrepareOnFaultyFilesTest, AnUnreadableInputIsReported) {
  files_.fail_read(1);
  EXPECT_EQ(prepare("new").code(), Code::kStorage);
  EXPECT_FALSE(files_.exists("out"));
}

}  // namespace
}  // namespace leasehold
