// Indexes, summaries and the manifests of version 2 that are made of them.
#include "runtime/checkpoint/shard_index.h"

#include <gtest/gtest.h>
#include <utility>

#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/shard_writer.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/faulty_files.h"

namespace leasehold {
namespace {

Piece indexed_piece(const Box& box, int64_t begin, int64_t end, const std::string& key) {
  return {{box, begin, end}, 0, key, digest128(key.data(), key.size())};
}

// One parameter "w" (4, 6) of three ranks: the left half in two ranges, and the right half.
std::vector<ShardPieces> three_shards() {
  const Shape global = {4, 6};
  std::vector<ShardPieces> shards;
  for (int64_t i = 0; i < 3; ++i) {
    shards.push_back({{.name = fmt::format("shard-{}.safetensors", i),
                       .size_bytes = 900 + i,
                       .num_pieces = 3,
                       .index_bytes = 500,
                       .index_digest = digest128(&i, sizeof(i))},
                      {}});
  }
  for (const StateKind kind : kStateKinds) {
    const std::string name = state_kind_name(kind);
    const Box left = {{0, 0}, {4, 3}};
    const Box right = {{0, 3}, {4, 3}};
    shards[0].tensors.push_back({"w", kind, global, {indexed_piece(left, 0, 6, name + "a")}, {}});
    shards[1].tensors.push_back(
        {"w",
         kind,
         global,
         {indexed_piece(left, 6, 9, name + "b"), indexed_piece(left, 9, 12, name + "c")},
         {}});
    shards[2].tensors.push_back({"w", kind, global, {indexed_piece(right, 0, 12, name + "d")}, {}});
  }
  return shards;
}

std::vector<std::string> encoded(const std::vector<ShardPieces>& shards) {
  std::vector<std::string> all;
  for (const ShardPieces& shard : shards) all.push_back(encode_summary(summarize(shard)).value());
  return all;
}

Manifest split_manifest() {
  return merge_summaries(sample_info(7), encoded(three_shards())).value();
}

std::string edited(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from << " in " << text;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(ShardIndex, ReadsBackAndIsAsLongWithAnyDigests) {
  for (ShardPieces& shard : three_shards()) {
    const std::string text = encode_shard_index(shard.tensors).value();
    EXPECT_EQ(parse_shard_index(text, "shard").value(), shard.tensors);
    for (StoredTensor& tensor : shard.tensors)
      for (Piece& piece : tensor.pieces) piece.digest = {};
    EXPECT_EQ(encode_shard_index(shard.tensors)->size(), text.size());
  }
}

TEST(ShardIndex, RefusesEditsNamingTheField) {
  const std::string text = encode_shard_index(three_shards()[1].tensors).value();
  const std::pair<const char*, const char*> edits[] = {
      {"\"kind\":\"weight\"", "\"kind\":\"v\""}, {"\"file\":0", "\"file\":1"},
      {"\"begin\":6", "\"begin\":-6"},           {"\"end\":12", "\"end\":13"},
      {"\"offset\":[0,0]", "\"offset\":[0]"},    {"\"tensors\"", "\"tensor\""},
  };
  for (const auto& [from, to] : edits) {
    const Status status = parse_shard_index(edited(text, from, to), "shard-1").status();
    EXPECT_EQ(status.code(), Code::kBadData) << to;
    EXPECT_TRUE(status.message().starts_with("shard-1: ")) << status.message();
  }
}

TEST(ShardSummary, SaysKindsTogetherAndJoinsPiecesThatTouch) {
  const ShardSummary summary = summarize(three_shards()[1]);
  ASSERT_EQ(summary.tensors.size(), 1u);
  EXPECT_EQ(summary.tensors[0].kinds.size(), 3u);
  ASSERT_EQ(summary.tensors[0].boxes.size(), 1u);
  EXPECT_EQ(summary.tensors[0].boxes[0].ranges,
            (std::vector<std::pair<int64_t, int64_t>>{{6, 12}}));
  const std::string text = encode_summary(summary).value();
  EXPECT_EQ(parse_summary(text, "rank 1").value(), summary);
  for (const char* bad : {"[6,12,13]", "[6,6]", "[12,6]", "[6,13]", "[]", "[6,9,9,12]"}) {
    EXPECT_EQ(parse_summary(edited(text, "[6,12]", bad), "rank 1").status().code(), Code::kBadData)
        << bad;
  }
}

TEST(SplitManifest, ReadsBackAndSaysWhichFilesHoldAnElement) {
  const Manifest manifest = split_manifest();
  const auto read = parse_manifest(encode_manifest(manifest).value(), "manifest.json");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), manifest);
  const StoredTensor* tensor = read->find("w", StateKind::kMoment2);
  ASSERT_NE(tensor, nullptr);
  ASSERT_EQ(tensor->boxes.size(), 2u);
  EXPECT_EQ(tensor->boxes[0].runs,
            (std::vector<HeldRun>{{.elements = 6, .count = 2, .first = 0, .stride = 1}}));
  EXPECT_EQ(tensor->boxes[1].runs,
            (std::vector<HeldRun>{{.elements = 12, .count = 1, .first = 2, .stride = 1}}));
}

TEST(SplitManifest, RefusesEditsNamingTheField) {
  const std::string text = encode_manifest(split_manifest()).value();
  const std::pair<const char*, std::pair<const char*, const char*>> edits[] = {
      {"[6,2,0,1]", {"[6,1,0,1]", "no file holds the last 6 elements"}},
      {"[6,2,0,1]", {"[6,3,0,1]", "more than the 12 elements"}},
      {"[6,2,0,1]", {"[6,2,2,1]", "beyond the 3"}},
      {"[6,2,0,1]", {"[6,2,0,0]", "ranges[0][3]"}},
      {"[6,2,0,1]", {"[6,2,0]", "[elements, count, first, stride]"}},
      {"[6,2,0,1]", {"[4611686018427387904,2,0,1]", "more than the 12 elements"}},
      {"\"extent\":[4,3],\"offset\":[0,3]", {"\"extent\":[4,3],\"offset\":[0,2]", "overlaps"}},
      {"\"index_bytes\":500", {"\"index_bytes\":5000", "an index of 5000"}},
      {"\"index_bytes\":500", {"\"index_bytes\":0", "index_bytes"}},
      {"\"pieces\":3", {"\"pieces\":-3", "pieces"}},
      {"\"version\":2", {"\"version\":1", "unknown field"}},
      {"\"index_digest\":\"", {"\"index_digest\":\"x", "32 hexadecimal digits"}},
      {"\"size_bytes\":900", {"\"size_bytes\":901", "damaged or edited"}},
  };
  for (const auto& [from, edit] : edits) {
    const Status status = parse_manifest(edited(text, from, edit.first), "m").status();
    EXPECT_EQ(status.code(), Code::kBadData) << edit.first;
    EXPECT_NE(status.message().find(edit.second), std::string::npos) << edit.first << "\n"
                                                                     << status.message();
  }
}

TEST(SplitManifest, MergeRefusesWhatDoesNotFitTogether) {
  const auto message = [](const std::vector<ShardPieces>& shards) {
    const Status status = merge_summaries(sample_info(7), encoded(shards)).status();
    EXPECT_EQ(status.code(), Code::kBadData);
    return status.message();
  };
  auto shards = three_shards();
  for (StoredTensor& tensor : shards[1].tensors) tensor.shape = {4, 7};
  EXPECT_NE(message(shards).find("another rank"), std::string::npos);
  shards = three_shards();
  shards[2].tensors[0].pieces[0].range.begin = 1;
  EXPECT_NE(message(shards).find("1 of 24 elements"), std::string::npos) << message(shards);
  shards = three_shards();
  shards[2].tensors.pop_back();
  EXPECT_NE(message(shards).find("'v' of parameter 'w'"), std::string::npos) << message(shards);
  shards = three_shards();
  shards.push_back(shards[1]);
  EXPECT_NE(message(shards).find("overlap"), std::string::npos) << message(shards);
}

// The ranks that share a bucket hold equal ranges of it, one after the other.
TEST(SplitManifest, DoesNotGrowWithTheRanks) {
  const auto size_with = [](int num_ranks) {
    constexpr int64_t kBucket = 1 << 16;
    constexpr int64_t kBuckets = 5;
    const Shape global = {kBuckets * kBucket};
    std::vector<std::string> summaries;
    for (int rank = 0; rank < num_ranks; ++rank) {
      ShardSummary summary;
      summary.file = {.name = shard_name(rank, num_ranks), .size_bytes = 1, .index_bytes = 1};
      SummaryTensor tensor{"w", {kStateKinds.begin(), kStateKinds.end()}, global, {}};
      tensor.boxes.push_back({Box::whole(global), {}});
      const int64_t share = kBucket / num_ranks;
      for (int64_t bucket = 0; bucket < kBuckets; ++bucket) {
        const int64_t begin = bucket * kBucket + rank * share;
        tensor.boxes[0].ranges.emplace_back(begin, begin + share);
      }
      summary.tensors.push_back(tensor);
      summaries.push_back(encode_summary(summary).value());
    }
    Manifest manifest = merge_summaries(sample_info(1), summaries).value();
    EXPECT_TRUE(parse_manifest(encode_manifest(manifest).value(), "m").ok());
    manifest.files.clear();
    return encode_manifest(manifest)->size();
  };
  EXPECT_NEAR(static_cast<double>(size_with(2048)), static_cast<double>(size_with(8)), 64);
}

struct Written {
  FaultyFiles files;
  SampleState state = random_state(sample_shapes(), 5);
  std::string path = "run/checkpoints/step-00000003";

  Written() {
    std::mt19937_64 random(3);
    std::vector<RankSlices> ranks = random_layout(sample_shapes(), 3, random);
    for (RankSlices& rank : ranks) copy_in(state, rank);
    for (const Status& saved : save_on_ranks(files, "run", sample_info(3), ranks))
      EXPECT_TRUE(saved.ok()) << saved.message();
  }
  std::string shard(int index) const { return path + "/" + shard_name(index, 3); }
};

TEST(SplitCheckpoint, ADamagedIndexIsNamed) {
  Written written;
  const std::string file = written.shard(1);
  written.files.flip_bit(file, std::ssize(written.files.content(file)) * 8 - 80);
  const Status status = load_whole(written.files, written.path).status();
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find(file + ": its index is damaged"), std::string::npos)
      << status.message();
}

// Version 1, as older programs wrote it: pieces in the manifest.
TEST(SplitCheckpoint, ACheckpointOfVersion1IsRead) {
  Written written;
  std::vector<ShardPieces> shards;
  const auto handle = open_checkpoint(written.files, written.path).value();
  for (const ShardFile& file : handle.manifest->files) {
    const std::string content = written.files.content(written.path + "/" + file.name);
    const std::string index =
        content.substr(content.size() - static_cast<size_t>(file.index_bytes));
    shards.push_back({{.name = file.name, .size_bytes = file.size_bytes},
                      parse_shard_index(index, file.name).value()});
  }
  const Manifest manifest = merge_shards(handle.info, shards).value();
  EXPECT_EQ(manifest.version, 1);
  written.files.set_content(written.path + "/manifest.json", encode_manifest(manifest).value());
  EXPECT_EQ(load_whole(written.files, written.path).value(), written.state);
}

// An index that is good in itself and holds less than the manifest says.
TEST(SplitCheckpoint, AnIndexThatLacksAPieceIsNamed) {
  Written written;
  const auto handle = open_checkpoint(written.files, written.path).value();
  Manifest manifest = *handle.manifest;
  ShardFile& file = manifest.files[1];
  std::string content = written.files.content(written.shard(1));
  std::string index = content.substr(content.size() - static_cast<size_t>(file.index_bytes));
  auto tensors = parse_shard_index(index, "index").value();
  for (StoredTensor& tensor : tensors) tensor.pieces.clear();
  index = encode_shard_index(tensors).value();
  index.resize(static_cast<size_t>(file.index_bytes), ' ');
  file.index_digest = digest128(index.data(), index.size());
  written.files.set_content(written.shard(1),
                            content.substr(0, content.size() - index.size()) + index);
  written.files.set_content(written.path + "/manifest.json", encode_manifest(manifest).value());
  const Status status = load_whole(written.files, written.path).status();
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("its pieces hold"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace leasehold
