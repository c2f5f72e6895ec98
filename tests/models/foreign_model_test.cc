// Tests that folders and files that do not fit together are refused before anything is written.
#include "models/foreign_model.h"

#include <gtest/gtest.h>

#include "models/huggingface_index.h"
#include "tests/models/foreign_fixture.h"
#include "tests/support/faulty_files.h"

namespace leasehold {
namespace {

using Tensors = std::map<std::string, MadeTensor>;

class ForeignModelTest : public testing::Test {
 protected:
  ForeignModelTest() { throw_if_error(files_.make_directories("in")); }

  Status open_single(const char* config, const Tensors& tensors) {
    files_.set_content("in/config.json", config);
    files_.set_content("in/model.safetensors", make_safetensors(tensors));
    return open_foreign_model(files_, "in").status();
  }
  // Writes the tensors before `border` to one file, and the others to a second one.
  void write_shards(const Tensors& tensors, const std::string& border) {
    const auto middle = tensors.lower_bound(border);
    files_.set_content("in/config.json", kSmallGpt2);
    files_.set_content("in/a.safetensors", make_safetensors({tensors.begin(), middle}));
    files_.set_content("in/b.safetensors", make_safetensors({middle, tensors.end()}));
    WeightMap map;
    for (const auto& [name, tensor] : tensors)
      map[name] = name < border ? "a.safetensors" : "b.safetensors";
    files_.set_content("in/model.safetensors.index.json", encode_huggingface_index(map, 0));
  }
  void edit_index(const std::function<void(WeightMap&)>& edit) {
    const std::string path = "in/model.safetensors.index.json";
    WeightMap map = parse_huggingface_index(files_.content(path), path).value();
    edit(map);
    files_.set_content(path, encode_huggingface_index(map, 0));
  }
  void expect_refused(const Status& status, Code code, const std::string& words) {
    EXPECT_EQ(status.code(), code) << status.message();
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
  }

  FaultyFiles files_;
};

TEST_F(ForeignModelTest, WhatFitsIsTaken) {
  EXPECT_TRUE(open_single(kSmallGpt2, small_gpt2_tensors()).ok());
  EXPECT_TRUE(open_single(kSmallLlama, small_llama_tensors()).ok());
  Tensors tied = small_llama_tensors();
  tied["lm_head.weight"] = tied.at("model.embed_tokens.weight");
  EXPECT_TRUE(open_single(kSmallLlama, tied).ok());
}

TEST_F(ForeignModelTest, TensorsMustFitTheConfiguration) {
  const Tensors good = small_gpt2_tensors();
  const auto with = [&](const std::function<void(Tensors&)>& edit) {
    Tensors tensors = good;
    edit(tensors);
    return open_single(kSmallGpt2, tensors);
  };
  const std::string qkv = "transformer.h.0.attn.c_attn.weight";
  expect_refused(with([&](Tensors& t) { t.erase(qkv); }), Code::kBadData, qkv);
  expect_refused(with([&](Tensors& t) { t[qkv].shape = {12, 4}; }), Code::kBadData, "(12, 4)");
  expect_refused(with([&](Tensors& t) { t[qkv].shape = {4, 12, 1}; }), Code::kBadData, qkv);
  expect_refused(with([&](Tensors& t) { t[qkv].shape = {0, 12}; }), Code::kBadData, qkv);
  expect_refused(with([&](Tensors& t) { t[qkv].dtype = "F64"; }), Code::kBadData, "F64");
  expect_refused(with([&](Tensors& t) { t[qkv].dtype = "I32"; }), Code::kBadData, qkv);
  expect_refused(with([](Tensors& t) {
                   t["transformer.h.1.ln_1.bias"] = {"F32", {4}, ""};
                 }),
                 Code::kBadData, "transformer.h.1.ln_1.bias");
  expect_refused(with([](Tensors& t) {
                   t["score.weight"] = {"F32", {4}, ""};
                 }),
                 Code::kBadData, "score.weight");
  expect_refused(with([](Tensors& t) {
                   t["transformer.h.x.attn.bias"] = {"F32", {4}, ""};
                 }),
                 Code::kBadData, "transformer.h.x.attn.bias");
  expect_refused(open_single(R"({"model_type": "gpt2", "n_layer": 9999, "n_embd": 4, "n_head": 2,
                                 "n_positions": 3, "vocab_size": 5})",
                             good),
                 Code::kBadData, "9999 layers");
  // A head that is stored must equal the token table.
  expect_refused(with([](Tensors& t) {
                   t["lm_head.weight"] = t.at("transformer.wte.weight");
                   t["lm_head.weight"].bytes = std::string(1, 'x');
                 }),
                 Code::kBadData, "lm_head.weight");
}

TEST_F(ForeignModelTest, MissingPartsAreMissingInput) {
  expect_refused(open_foreign_model(files_, "nowhere").status(), Code::kMissingInput, "nowhere");
  expect_refused(open_foreign_model(files_, "in").status(), Code::kMissingInput, "config.json");
  files_.set_content("in/config.json", kSmallGpt2);
  expect_refused(open_foreign_model(files_, "in").status(), Code::kMissingInput,
                 "safe_serialization");
}

TEST_F(ForeignModelTest, TruncatedAndTamperedFilesAreNamed) {
  ASSERT_TRUE(open_single(kSmallGpt2, small_gpt2_tensors()).ok());
  const std::string path = "in/model.safetensors";
  const std::string good = files_.content(path);
  for (const size_t size : {size_t{0}, size_t{7}, size_t{100}, good.size() - 1}) {
    files_.set_content(path, good.substr(0, size));
    expect_refused(open_foreign_model(files_, "in").status(), Code::kBadData, path);
  }
  files_.set_content(path, good + "x");
  expect_refused(open_foreign_model(files_, "in").status(), Code::kBadData, path);
  files_.set_content(path, std::string(8, '\xff') + good.substr(8));
  expect_refused(open_foreign_model(files_, "in").status(), Code::kBadData, "header");
}

TEST_F(ForeignModelTest, ShardsAreWhatTheIndexSays) {
  const Tensors tensors = small_gpt2_tensors();
  const std::string border = "transformer.h.0.ln_2";
  const std::string first = tensors.begin()->first;
  write_shards(tensors, border);
  ASSERT_TRUE(open_foreign_model(files_, "in").ok());

  edit_index([&](WeightMap& map) { map[first] = "b.safetensors"; });
  expect_refused(open_foreign_model(files_, "in").status(), Code::kBadData, first);
  write_shards(tensors, border);
  edit_index([&](WeightMap& map) { map.erase(first); });
  expect_refused(open_foreign_model(files_, "in").status(), Code::kBadData, first);
  write_shards(tensors, border);
  edit_index([&](WeightMap& map) { map["ghost"] = "b.safetensors"; });
  expect_refused(open_foreign_model(files_, "in").status(), Code::kBadData, "ghost");
  write_shards(tensors, border);
  edit_index([&](WeightMap& map) { map["ghost"] = "c.safetensors"; });
  expect_refused(open_foreign_model(files_, "in").status(), Code::kMissingInput, "c.safetensors");
  // One tensor in two files.
  write_shards(tensors, border);
  files_.set_content("in/b.safetensors", make_safetensors(tensors));
  expect_refused(open_foreign_model(files_, "in").status(), Code::kBadData, first);
  // Two models in one folder.
  write_shards(tensors, border);
  files_.set_content("in/model.safetensors", make_safetensors(tensors));
  expect_refused(open_foreign_model(files_, "in").status(), Code::kBadData, "both");
}

TEST_F(ForeignModelTest, LlmcFilesAreReadToTheByte) {
  FileSystem& disk = posix_files();
  const std::string good = read_file(disk, foreign_fixture("llmc/gpt2_fp32.bin")).value();
  const auto with = [&](const std::string& content) {
    files_.set_content("model.bin", content);
    return open_foreign_model(files_, "model.bin").status();
  };
  const auto with_word = [&](size_t word, int32_t value) {
    std::string content = good;
    std::memcpy(content.data() + 4 * word, &value, sizeof value);
    return with(content);
  };
  ASSERT_TRUE(with(good).ok());
  expect_refused(with(""), Code::kBadData, "model.bin");
  expect_refused(with(good.substr(0, 1000)), Code::kBadData, "begins with 1024");
  expect_refused(with(good.substr(0, good.size() - 1)), Code::kBadData, "truncated");
  expect_refused(with(good + "x"), Code::kBadData, "its header says");
  expect_refused(with_word(0, 20240520), Code::kBadData, "not an llm.c model file");
  expect_refused(with_word(1, 4), Code::kBadData, "version 4");
  expect_refused(with_word(1, 5), Code::kBadData, "its header says");  // half the bytes
  expect_refused(with_word(2, -1), Code::kBadData, "sequence");
  expect_refused(with_word(3, INT32_MAX), Code::kBadData, "padded");
  expect_refused(with_word(4, INT32_MAX), Code::kBadData, "layers");
  expect_refused(with_word(4, 10000), Code::kBadData, "its header says");
  expect_refused(with_word(5, 3), Code::kBadData, "heads");
  expect_refused(with_word(6, 0), Code::kBadData, "hidden");
  expect_refused(with_word(7, 10), Code::kBadData, "padded");
  expect_refused(with_word(7, INT32_MAX), Code::kBadData, "its header says");
}

}  // namespace
}  // namespace leasehold
