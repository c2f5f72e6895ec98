// Tests refusals of text that is not JSON. Users of the reader test what is read.
#include "runtime/base/json_reader.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

std::string problem_of(std::string_view text) {
  const Status status = parse_strict_json(text, "t.json", 8).status();
  EXPECT_EQ(status.code(), Code::kBadData);
  return status.message();
}

void expect_parts(const std::string& message, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
  }
}

TEST(StrictJson, SaysLineColumnAndReason) {
  expect_parts(
      problem_of("{\n\"text\":\"a\\ud83d b\"}"),
      {"t.json: not valid JSON: line 2, column 16", "surrogate", "cut a character in two"});
  expect_parts(problem_of("\"\\udc00\""), {"line 1, column 7", "surrogate"});
  expect_parts(problem_of("{\"a\": [1, 2"), {"line 1, column 12", "cut off?"});
  expect_parts(problem_of("{\"a\": nul}"), {"line 1, column 10"});
  expect_parts(problem_of("{} {}"), {"line 1, column 4"});
  const std::string ill_formed = problem_of("\"\xFF\"");
  expect_parts(ill_formed, {"line 1, column 2", "UTF-8", "\\xFF"});
  EXPECT_EQ(ill_formed.find("json.exception"), std::string::npos) << ill_formed;
  EXPECT_EQ(ill_formed.find('\xFF'), std::string::npos);
}

TEST(StrictJson, NamesWhatLiesThereInstead) {
  expect_parts(problem_of("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
               {"t.json: this is a Git LFS pointer", "not JSON", "git lfs pull"});
  expect_parts(problem_of("<!doctype html><title>Sign in</title>"), {"HTML page"});
  expect_parts(problem_of("Entry not found"), {"error message that a server sent"});
  expect_parts(problem_of(""), {"t.json: this is empty"});
  expect_parts(problem_of("\x1F\x8B\x08"), {"a gzip file"});
}

}  // namespace
}  // namespace leasehold
