// Tests the Parquet helper: with stand-ins for Python, and with pyarrow if it is installed.
#include "runtime/data/parquet_input.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "runtime/data/prepare.h"
#include "runtime/data/token_file.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

class ParquetInputTest : public ::testing::Test {
 protected:
  ~ParquetInputTest() override { ::unsetenv("LEASEHOLD_PYTHON"); }

  std::string write(const std::string& name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
    return directory_ / name;
  }
  // Puts a program in Python's place.
  void stand_in(const std::string& shell) {
    const std::string path = write("python", "#!/bin/sh\n" + shell + "\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    ::setenv("LEASEHOLD_PYTHON", path.c_str(), 1);
  }
  Status prepare(const std::string& input, const std::string& field = "text") {
    PrepareOptions options;
    options.inputs = {input};
    options.output_dir = directory_ / "out";
    options.validation_fraction = 0;
    options.field = field;
    return prepare_tokens(posix_files(), *byte_, options).status();
  }
  std::string text() {
    const TokenFile tokens = TokenFile::open(posix_files(), directory_ / "out/train.bin").value();
    std::vector<int32_t> ids(static_cast<size_t>(tokens.num_tokens()));
    EXPECT_TRUE(tokens.read(0, ids, 256).ok());
    return byte_->decode(ids).value();
  }
  void expect(const Status& status, Code code, std::initializer_list<std::string> parts) {
    EXPECT_EQ(status.code(), code) << status.message();
    for (const std::string& part : parts)
      EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    EXPECT_FALSE(std::filesystem::exists(directory_ / "out"));
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Tokenizer> byte_ = create_tokenizer("byte").value();
};

const std::string kParquetHead("PAR1\x15\x04 and more", 15);

TEST_F(ParquetInputTest, RowsOfTheHelperAreDocuments) {
  const std::string input = write("a.parquet", kParquetHead);
  stand_in("[ \"$1\" = -c ] && [ \"$3\" = '" + input +
           "' ] && printf '{\"%s\": \"one\"}\\n{\"%s\": \"two\"}\\n' \"$4\" \"$4\"");
  ASSERT_TRUE(prepare(input, "body").ok());
  EXPECT_EQ(text(), "onetwo");
  EXPECT_EQ(posix_files().list(directory_ / "out").value().size(), 2u);
  std::filesystem::remove_all(directory_ / "out");
  stand_in("printf '{\"text\": \"one\"}\\n{\"text\": null}\\n'");
  expect(prepare(input), Code::kBadData, {input + ": row 2", "is not a string but null"});
}

TEST_F(ParquetInputTest, WhatIsMissingIsSaid) {
  const std::string input = write("a.parquet", kParquetHead);
  stand_in("exit 69");
  expect(prepare(input), Code::kUnavailable,
         {"input " + input, "pyarrow", "pip install pyarrow", "LEASEHOLD_PYTHON"});
  ::setenv("LEASEHOLD_PYTHON", "/nowhere/python", 1);
  expect(prepare(input), Code::kUnavailable, {"/nowhere/python does not start", "pip install"});
  stand_in("echo \"no column 'text': it has a, b\" >&2; exit 1");
  expect(prepare(input), Code::kBadData, {"input " + input + ": no column 'text': it has a, b"});
  stand_in("kill -9 $$");
  expect(prepare(input), Code::kBadData, {"ended with 137"});
  stand_in("true");
  expect(prepare(input), Code::kBadData, {"has no rows"});
}

TEST_F(ParquetInputTest, ManyWarningsHoldNothingUp) {
  const std::string input = write("a.parquet", kParquetHead);
  stand_in("head -c 1000000 /dev/zero | tr '\\0' w >&2; printf '{\"text\": \"one\"}\\n'");
  ASSERT_TRUE(prepare(input).ok());
  EXPECT_EQ(text(), "one");
}

TEST_F(ParquetInputTest, AHelperThatHangsEndsWithTheWish) {
  stand_in("exec sleep 1000");
  int asked = 0;
  const Status status = parquet_to_json_lines(posix_files(), "a", "text", directory_ / "rows", [&] {
    return ++asked < 3 ? ok_status() : error(Code::kDrained, "stopped");
  });
  EXPECT_EQ(status.code(), Code::kDrained);
}

TEST_F(ParquetInputTest, PyarrowReadsWhatItWrote) {
  const char* python = std::getenv("LEASEHOLD_TEST_PYARROW");
  ::setenv("LEASEHOLD_PYTHON", python != nullptr ? python : "python3", 1);
  const std::string program = std::getenv("LEASEHOLD_PYTHON");
  const std::string path = directory_ / "a.parquet";
  const std::string script =
      "import pyarrow as a, pyarrow.parquet as p; p.write_table(a.table({'text': ['one', 'two "
      "\xC3\xA9'], "
      "'n': [1, None], 'meta': [{'body': 'three'}, {'body': 'four'}]}), '" +
      path + "')";
  if (std::system((program + " -c \"" + script + "\" 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "no pyarrow in python3, nor in LEASEHOLD_TEST_PYARROW";
  ASSERT_TRUE(prepare(path).ok());
  EXPECT_EQ(text(), "onetwo \xC3\xA9");
  ASSERT_TRUE(prepare(path, "meta.body").ok());
  EXPECT_EQ(text(), "threefour");
  std::filesystem::remove_all(directory_ / "out");
  expect(prepare(path, "body"), Code::kBadData, {"no column 'body': it has text, n, meta"});
  expect(prepare(path, "n"), Code::kBadData, {"row 1", "not a string but number"});
  expect(prepare(write("b.parquet", kParquetHead)), Code::kBadData, {"Parquet"});
}

}  // namespace
}  // namespace leasehold
