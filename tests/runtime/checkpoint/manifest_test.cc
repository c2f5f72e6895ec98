#include "runtime/checkpoint/manifest.h"

#include <gtest/gtest.h>
#include <utility>

#include "tests/runtime/checkpoint/sample_state.h"

namespace leasehold {
namespace {

Piece piece(const Box& box, int64_t begin, int64_t end, const std::string& key) {
  return {{box, begin, end}, 0, key, digest128(key.data(), key.size())};
}

// One parameter "w" (4, 6) of two ranks: the left half and the right half.
std::vector<ShardPieces> two_shards() {
  const Shape global = {4, 6};
  std::vector<ShardPieces> shards = {{{"shard-0.safetensors", 300}, {}},
                                     {{"shard-1.safetensors", 200}, {}}};
  for (const StateKind kind : kStateKinds) {
    const std::string name = state_kind_name(kind);
    const Box left = {{0, 0}, {4, 3}};
    const Box right = {{0, 3}, {4, 3}};
    shards[0].tensors.push_back(
        {"w", kind, global, {piece(left, 0, 7, name + "a"), piece(left, 7, 12, name + "b")}});
    shards[1].tensors.push_back({"w", kind, global, {piece(right, 0, 12, name + "c")}});
  }
  return shards;
}

std::string sample_text() {
  return encode_manifest(merge_shards(sample_info(7), two_shards()).value()).value();
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(Manifest, WhatIsWrittenReadsBack) {
  const Manifest manifest = merge_shards(sample_info(7), two_shards()).value();
  const auto read = parse_manifest(encode_manifest(manifest).value(), "manifest.json");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), manifest);
  EXPECT_EQ(read->info.seed, 0xfedcba9876543210);
  ASSERT_NE(read->find("w", StateKind::kMoment2), nullptr);
  EXPECT_EQ(read->find("w", StateKind::kMoment2)->pieces.size(), 3u);
  EXPECT_EQ(read->find("x", StateKind::kMoment2), nullptr);
}

constexpr const char* kAlgorithms =
    "algorithms of cuBLASLt 13.1.0 on a part\n"
    "forward 8 6 6 BF16 BF16 bias aligned = 1f 0 0 0 0 0 0 0\n"
    "weight 6 6 8 BF16 F32 none aligned = none\n";

std::string sample_text_with_algorithms() {
  CheckpointInfo info = sample_info(7);
  info.algorithms = kAlgorithms;
  return encode_manifest(merge_shards(info, two_shards()).value()).value();
}

// A CPU's manifest has the bytes that it had before there were algorithms.
TEST(Manifest, AlgorithmsReadBackAndAreAbsentWhereThereAreNone) {
  EXPECT_EQ(sample_text().find("algorithms"), std::string::npos);
  EXPECT_EQ(parse_manifest(sample_text(), "m")->info.algorithms, "");
  const std::string text = sample_text_with_algorithms();
  EXPECT_NE(text.find("\"algorithms\":[\"algorithms of cuBLASLt 13.1.0 on a part\",\"forward 8"),
            std::string::npos)
      << text;
  EXPECT_EQ(parse_manifest(text, "m")->info.algorithms, kAlgorithms);
}

TEST(Manifest, ModelFilesReadBackAndAreAbsentWhereThereAreNone) {
  EXPECT_EQ(sample_text().find("model_files"), std::string::npos);
  CheckpointInfo info = sample_info(7);
  info.model_files = {{"generation_config.json", "{\"eos_token_id\": 2}\n"},
                      {"chat_template.jinja", "{{ x }}"}};
  const std::string text = encode_manifest(merge_shards(info, two_shards()).value()).value();
  EXPECT_EQ(parse_manifest(text, "m")->info, info);
  const Status wrong = parse_manifest(replaced(text, "\"{{ x }}\"", "7"), "m").status();
  EXPECT_EQ(wrong.code(), Code::kBadData);
}

TEST(Manifest, AlgorithmsThatAreNoTableAreRefused) {
  const std::vector<std::pair<std::string, std::string>> edits = {
      {"\"algorithms\":[\"algorithms of", "\"algorithms\":[\"algebra of"},
      {" aligned = none\"", " aligned\""},
      {"\"weight 6 6 8 BF16 F32 none aligned = none\"",
       "\"forward 8 6 6 BF16 BF16 bias aligned = none\""},
      {"\"weight 6 6 8 BF16 F32 none aligned = none\"", "\"a = b\\nc = d\""},
      {"\"weight 6 6 8 BF16 F32 none aligned = none\"", "6"},
  };
  for (const auto& [from, to] : edits) {
    const Status status =
        parse_manifest(replaced(sample_text_with_algorithms(), from, to), "m").status();
    EXPECT_EQ(status.code(), Code::kBadData) << to;
    EXPECT_TRUE(status.message().starts_with("m: algorithms")) << status.message();
  }
  const Status status =
      parse_manifest(replaced(sample_text_with_algorithms(), "= 1f 0", "= 2f 0"), "m").status();
  EXPECT_NE(status.message().find("damaged or edited"), std::string::npos) << status.message();
}

TEST(Manifest, TheKernelSetReadsBackAndIsAbsentWhereNoneIsKnown) {
  EXPECT_EQ(sample_text().find("cpu_kernels"), std::string::npos);
  EXPECT_EQ(parse_manifest(sample_text(), "m")->info.cpu_kernels, "");
  CheckpointInfo info = sample_info(7);
  info.cpu_kernels = "Haswell";
  const std::string text = encode_manifest(merge_shards(info, two_shards()).value()).value();
  EXPECT_EQ(parse_manifest(text, "m")->info.cpu_kernels, "Haswell");
  const Status status =
      parse_manifest(replaced(text, "\"Haswell\"", "[\"Haswell\"]"), "m").status();
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("cpu_kernels"), std::string::npos) << status.message();
}

TEST(Manifest, MergeRefusesWhatDoesNotFitTogether) {
  const auto message = [](std::vector<ShardPieces> shards) {
    const Status status = merge_shards(sample_info(7), std::move(shards)).status();
    EXPECT_EQ(status.code(), Code::kBadData);
    return status.message();
  };
  auto shards = two_shards();
  shards[1].tensors[0].shape = {4, 7};
  EXPECT_NE(message(shards).find("another rank"), std::string::npos);
  shards = two_shards();
  shards[1].tensors[0].pieces[0].range.begin = 1;
  EXPECT_NE(message(shards).find("1 of 24 elements"), std::string::npos);
  shards = two_shards();
  shards[1].tensors.pop_back();
  EXPECT_NE(message(shards).find("'v' of parameter 'w'"), std::string::npos);
  shards = two_shards();
  for (ShardPieces& shard : shards) shard.tensors.erase(shard.tensors.begin() + 1);
  EXPECT_NE(message(shards).find("needs weight, m and v"), std::string::npos);
  shards = two_shards();
  shards.push_back(shards[1]);
  EXPECT_NE(message(shards).find("twice"), std::string::npos);
  shards.back().file.name = "shard-2.safetensors";
  EXPECT_NE(message(shards).find("overlap"), std::string::npos);
}

struct Edit {
  const char* from;
  const char* to;
  const char* complaint;
};

TEST(Manifest, RefusesEditsNamingTheField) {
  const std::vector<Edit> edits = {
      {"\"format\":\"leasehold-checkpoint\"", "\"format\":\"another\"", "not a manifest"},
      {"\"version\":1", "\"version\":3", "versions 1 to 2 only"},
      {"\"version\":1", "\"version\":2", "files[0]: the field 'pieces' is missing"},
      {"\"step\":7", "\"step\":-7", "step: "},
      {"\"step\":7", "\"step\":7.5", "step: an integer"},
      {"\"step\":7", "\"step\":7,\"step\":8", "twice"},
      {"\"step\":7", "\"stop\":7", "'step' is missing"},
      {"\"seed\":18364758544493064720", "\"seed\":-1", "seed: "},
      {"\"seed\":18364758544493064720", "\"seed\":99999999999999999999", "seed: "},
      {"\"hidden\":\"6\"", "\"hidden\":6", "model: 'hidden'"},
      {"\"generation\":1", "\"generation\":1,\"surplus\":1", "unknown field 'surplus'"},
      {"\"name\":\"shard-0.safetensors\"", "\"name\":\"../shard-0.safetensors\"", "files[0].name"},
      {"\"name\":\"shard-0.safetensors\"", "\"name\":\"shard-1.safetensors\"", "twice"},
      {"\"kind\":\"weight\"", "\"kind\":\"bias\"", "tensors[0].kind"},
      {"\"kind\":\"weight\"", "\"kind\":\"m\"", "does not come after"},
      {"\"dtype\":\"F32\"", "\"dtype\":\"BF16\"", "tensors[0].dtype"},
      {"\"shape\":[4,6]", "\"shape\":[4,5]", "tensors[0].pieces[2]"},
      {"\"shape\":[4,6]", "\"shape\":[4,7]", "4 of 28 elements"},
      {"\"shape\":[4,6]", "\"shape\":[4,6,1]", "tensors[0].pieces[0]"},
      {"\"shape\":[4,6]", "\"shape\":[1,1,1,1,4,6]", "tensors[0].shape"},
      {"\"shape\":[4,6]", "\"shape\":[4611686018427387904,6]", "tensors[0].shape"},
      {"\"offset\":[0,0]", "\"offset\":[0]", "pieces[0]"},
      {"\"offset\":[0,0]", "\"offset\":[1,0]", "pieces[0]"},
      {"\"extent\":[4,3]", "\"extent\":[0,3]", "pieces[0].extent"},
      {"\"begin\":7", "\"begin\":6", "overlap"},
      {"\"begin\":7", "\"begin\":8", "1 of 24 elements"},
      {"\"begin\":7,", "\"begin\":12,", "pieces[1]: 0 elements"},
      {"\"end\":12", "\"end\":13", "pieces[1]"},
      {"\"file\":0", "\"file\":2", "pieces[0].file"},
      {"\"key\":\"weighta\"", "\"key\":\"weightb\"", "twice"},
      {"\"digest\":\"", "\"digest\":\"x", "damaged or edited"},
      {"{\"begin\":0,\"digest\":\"", "{\"begin\":0,\"digest\":\"x", "32 hexadecimal digits"},
      {"x86-64-v3", "x86-64-v4", "damaged or edited"},
  };
  ASSERT_TRUE(parse_manifest(sample_text(), "manifest.json").ok());
  for (const Edit& edit : edits) {
    const Status status =
        parse_manifest(replaced(sample_text(), edit.from, edit.to), "manifest.json").status();
    EXPECT_EQ(status.code(), Code::kBadData) << edit.to;
    EXPECT_NE(status.message().find(edit.complaint), std::string::npos) << edit.to << "\n"
                                                                        << status.message();
    EXPECT_TRUE(status.message().starts_with("manifest.json: ")) << status.message();
  }
}

TEST(Manifest, AnyFlippedBitAndAnyTruncationIsFound) {
  const std::string text = sample_text();
  // Every fifth bit, which is every bit of some bytes; the last byte is the newline.
  for (size_t bit = 0; bit < text.size() * 8 - 8; bit += 5) {
    std::string damaged = text;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_EQ(parse_manifest(damaged, "m").status().code(), Code::kBadData) << "bit " << bit;
  }
  for (size_t length = 0; length + 1 < text.size(); length += 3) {
    ASSERT_EQ(parse_manifest(text.substr(0, length), "m").status().code(), Code::kBadData)
        << "length " << length;
  }
}

TEST(Manifest, APieceHasAtMostTheElementsThatAReaderHolds) {
  std::vector<ShardPieces> shards = {{{"s", 1}, {}}};
  const Shape global = {kMaxPieceElements + 1};
  for (const StateKind kind : kStateKinds) {
    shards[0].tensors.push_back(
        {"w", kind, global, {piece(Box::whole(global), 0, global[0], state_kind_name(kind))}});
  }
  const std::string text = encode_manifest(merge_shards(sample_info(1), shards).value()).value();
  EXPECT_NE(parse_manifest(text, "m").status().message().find("4194305 elements"),
            std::string::npos);
}

TEST(Manifest, TextThatIsNotUtf8IsRefused) {
  Manifest manifest;
  manifest.info.tokenizer_json = "\xff";
  EXPECT_EQ(encode_manifest(manifest).status().code(), Code::kBadData);
}

}  // namespace
}  // namespace leasehold
