#include "runtime/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include "tests/support/faulty_files.h"

namespace leasehold {
namespace {

std::string length_prefix(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xff);
  return bytes;
}

Result<SafetensorsHeader> read_bytes(const std::string& bytes) {
  FaultyFiles files;
  files.set_content("x.safetensors", bytes);
  const auto file = files.open("x.safetensors").value();
  return read_safetensors_header(*file, "x.safetensors");
}

Result<SafetensorsHeader> read_json(const std::string& json, size_t buffer_bytes) {
  return read_bytes(length_prefix(json.size()) + json + std::string(buffer_bytes, 'b'));
}

TEST(Safetensors, WhatIsWrittenReadsBack) {
  const std::vector<SafetensorsTensor> tensors = {
      {"a/weight@0:3", "F32", {3}, 0, 12},
      {"quote \" and \xc3\xa9", "BF16", {2, 3, 1}, 12, 24},
      {"empty", "U8", {0, 7}, 24, 24},
      {"scalar", "I64", {}, 24, 32}};
  const std::map<std::string, std::string> metadata = {{"about", "a test"}};
  const std::string header = encode_safetensors_header(tensors, metadata).value();
  EXPECT_EQ(header.size() % 8, 0u);
  const Result<SafetensorsHeader> read = read_bytes(header + std::string(32, 'b'));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->metadata, metadata);
  EXPECT_EQ(read->tensors, tensors);
  EXPECT_EQ(read->buffer_offset, std::ssize(header));
  EXPECT_EQ(read->buffer_bytes, 32);
  ASSERT_NE(read->find("scalar"), nullptr);
  EXPECT_EQ(read->find("scalar")->begin, 24);
  EXPECT_EQ(read->find("scal"), nullptr);
}

// Bytes as the format's own documentation has them: no padding, keys in another order than the
// buffer.
TEST(Safetensors, ReadsWhatOthersWrite) {
  const auto read = read_json(
      R"({"b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},"a":{"data_offsets":[0,4],"shape":[1,1],"dtype":"F32"}}   )",
      8);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->tensors[0].key, "a");
  EXPECT_EQ(read->tensors[1].dtype, "F16");
  EXPECT_TRUE(read_json("{}", 0).ok());
}

struct Hostile {
  const char* json;
  size_t buffer_bytes;
  const char* complaint;
};

TEST(Safetensors, RefusesHostileHeaders) {
  const std::vector<Hostile> cases = {
      {"", 0, "start with"},
      {" {}", 0, "start with"},
      {"[]", 0, "start with"},
      {"{}x", 0, "JSON"},
      {"{", 0, "JSON"},
      {"{\"a\":\"\xff\"}", 0, "JSON"},
      {R"({"a":1})", 0, "object"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0}})", 4, "unknown field 'x'"},
      {R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, "F31"},
      {R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4, "string"},
      {R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4, "array"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "integer"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "not between"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 4, "[begin, end)"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "[begin, end)"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "need 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, "truncated"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5, "the file at 5"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "hole"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
       6, "overlap"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "twice"},
      {R"({"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0,
       "63 bits"},
      {R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,0]}})", 0, "integer"},
      {R"({"__metadata__":{"a":1}})", 0, "string"},
      {R"({"__metadata__":[]})", 0, "object"},
      {R"({"a":{"dtype":"F32","shape":[[[[1]]]],"data_offsets":[0,4]}})", 4, "nested"},
      {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":1}", 4,
       "object"},
  };
  for (const Hostile& hostile : cases) {
    const auto read = read_json(hostile.json, hostile.buffer_bytes);
    EXPECT_EQ(read.status().code(), Code::kBadData) << hostile.json;
    EXPECT_NE(read.status().message().find(hostile.complaint), std::string::npos)
        << hostile.json << "\n"
        << read.status().message();
    EXPECT_NE(read.status().message().find("x.safetensors"), std::string::npos)
        << read.status().message();
  }
}

TEST(Safetensors, RefusesLengthsThatCannotBe) {
  for (const std::string& bytes :
       {std::string(), std::string("1234567"), length_prefix(3) + "{}",
        length_prefix(100'000'001) + "{}", length_prefix(UINT64_MAX) + "{}",
        length_prefix(uint64_t{1} << 63) + "{}"}) {
    EXPECT_EQ(read_bytes(bytes).status().code(), Code::kBadData) << bytes.size();
  }
}

TEST(Safetensors, DeepNestingEndsInAnErrorNotInAnOverflow) {
  const std::string deep = "{\"a\":" + std::string(1'000'000, '[');
  EXPECT_EQ(read_json(deep, 0).status().code(), Code::kBadData);
}

TEST(Safetensors, AKeyThatIsNotUtf8IsRefused) {
  EXPECT_EQ(encode_safetensors_header({{"\xff", "F32", {1}, 0, 4}}, {}).status().code(),
            Code::kBadData);
}

}  // namespace
}  // namespace leasehold
