#include "models/huggingface_index.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(HuggingFaceIndex, WhatIsWrittenReadsBack) {
  const WeightMap map = {{"a.weight", "model-00001-of-00002.safetensors"},
                         {"b \"quoted\"", "model-00002-of-00002.safetensors"}};
  const Result<WeightMap> read =
      parse_huggingface_index(encode_huggingface_index(map, 12), "index");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(*read, map);
}

TEST(HuggingFaceIndex, RefusesWhatCannotBe) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"", "JSON"},
      {"[]", "object"},
      {"{}", "weight_map"},
      {R"({"weight_map": {}})", "no tensor"},
      {R"({"weight_map": []})", "object"},
      {R"({"weight_map": {"a": 1}})", "string"},
      {R"({"weight_map": {"a": "../x.safetensors"}})", "'a'"},
      {R"({"weight_map": {"a": "/etc/x.safetensors"}})", "'a'"},
      {R"({"weight_map": {"a": ".safetensors"}})", "'a'"},
      {R"({"weight_map": {"a": "pytorch_model.bin"}})", "pytorch_model.bin"},
      {R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})", "twice"},
      {R"({"weight_map": {"a": "x.safetensors"}, "other": 1})", "other"},
  };
  for (const auto& [text, words] : cases) {
    const Result<WeightMap> read = parse_huggingface_index(text, "x/index.json");
    EXPECT_EQ(read.status().code(), Code::kBadData) << text;
    EXPECT_NE(read.status().message().find(words), std::string::npos)
        << text << " " << read.status().message();
    EXPECT_NE(read.status().message().find("x/index.json"), std::string::npos);
  }
}

}  // namespace
}  // namespace leasehold
