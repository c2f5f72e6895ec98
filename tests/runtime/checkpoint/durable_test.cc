// Saving and loading when nothing goes wrong: any layout to any layout, what is on disk, what is
// kept.
#include "runtime/checkpoint/durable.h"

#include <gtest/gtest.h>
#include <set>

#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/checkpoint/state_digest.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/faulty_files.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

void expect_all_ok(const std::vector<Status>& statuses) {
  for (const Status& status : statuses) EXPECT_TRUE(status.ok()) << status.message();
}

std::vector<RankSlices> layout_of(const SampleState& state, int num_ranks, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<RankSlices> ranks = random_layout(sample_shapes(), num_ranks, random);
  for (RankSlices& rank : ranks) copy_in(state, rank);
  return ranks;
}

std::vector<std::string> names(const std::vector<CheckpointHandle>& handles) {
  std::vector<std::string> all;
  for (const CheckpointHandle& handle : handles) all.push_back(handle.path);
  return all;
}

TEST(Durable, AnyLayoutLoadsWhatAnyOtherWrote) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    std::mt19937_64 random(seed);
    FaultyFiles files;
    const SampleState state = random_state(sample_shapes(), seed);
    const int writers = 1 + static_cast<int>(random() % 6);
    expect_all_ok(save_on_ranks(files, "run", sample_info(5), layout_of(state, writers, seed)));
    const auto handle = open_checkpoint(files, "run/checkpoints/step-00000005");
    ASSERT_TRUE(handle.ok()) << handle.status().message();
    EXPECT_EQ(handle->info, sample_info(5));
    const int readers = 1 + static_cast<int>(random() % 6);
    SampleState arrived;
    for (const RankSlices& rank : random_layout(sample_shapes(), readers, random)) {
      const Status loaded = load_checkpoint(files, handle.value(), rank.slices);
      ASSERT_TRUE(loaded.ok()) << loaded.message();
      copy_out(rank, arrived);
    }
    ASSERT_EQ(arrived, state) << "seed " << seed << ": " << writers << " wrote, " << readers
                              << " read";
  }
}

TEST(Durable, ShardsAreValidSafetensorsAndHoldThePieces) {
  FaultyFiles files;
  const SampleState state = random_state(sample_shapes(), 3);
  expect_all_ok(save_on_ranks(files, "run", sample_info(5), layout_of(state, 3, 3)));
  const std::string path = "run/checkpoints/step-00000005";
  EXPECT_EQ(files.list(path).value(),
            (std::vector<std::string>{"manifest.json", "shard-00000-of-00003.safetensors",
                                      "shard-00001-of-00003.safetensors",
                                      "shard-00002-of-00003.safetensors"}));
  EXPECT_EQ(files.list("run/checkpoints").value(), std::vector<std::string>{"step-00000005"});
  const auto handle = open_checkpoint(files, path).value();
  std::set<std::string> keys;
  CheckpointReader(files, handle).for_each_piece([&](const Result<Piece>& piece) {
    return keys.insert(std::to_string(piece->file) + piece->key).second;
  });
  EXPECT_GE(keys.size(), 3 * sample_shapes().size());
  for (int64_t i = 0; i < 3; ++i) {
    const std::string name = path + "/" + handle.manifest->files[static_cast<size_t>(i)].name;
    const auto file = files.open(name).value();
    const auto header = read_safetensors_header(*file, name);
    ASSERT_TRUE(header.ok()) << header.status().message();
    for (const SafetensorsTensor& tensor : header->tensors)
      keys.erase(std::to_string(i) + tensor.key);
  }
  EXPECT_TRUE(keys.empty()) << *keys.begin();
}

TEST(Durable, LongSlicesAreCutIntoPiecesThatAReaderCanHold) {
  FaultyFiles files;
  const std::map<std::string, Shape> shapes = {{"long", {2, kMaxPieceElements / 2 + 700}}};
  const SampleState state = random_state(shapes, 1);
  ASSERT_TRUE(save_whole(files, "run", sample_info(1), state).ok());
  const auto handle = open_checkpoint(files, "run/checkpoints/step-00000001").value();
  const RankSlices whole = whole_slices(shapes);
  const auto reads =
      CheckpointReader(files, handle).plan_reads(std::span(whole.slices).first(1)).value();
  ASSERT_EQ(reads.size(), 2u);
  EXPECT_EQ(reads[0].piece.range.count(), kMaxPieceElements);
  EXPECT_EQ(reads[0].piece.key, "long/weight@0:4194304");
  RankSlices middle;
  middle.add("long", StateKind::kWeight, shapes.at("long"),
             {Box::whole(shapes.at("long")), kMaxPieceElements - 3, kMaxPieceElements + 3});
  ASSERT_TRUE(load_checkpoint(files, handle, middle.slices).ok());
  const auto& all = state.at({"long", StateKind::kWeight}).elements;
  EXPECT_EQ(*middle.memory[0], std::vector<float>(all.begin() + kMaxPieceElements - 3,
                                                  all.begin() + kMaxPieceElements + 3));
}

// A reader that wants one rank's part touches no piece of the others.
TEST(Durable, OnlyTheNeededPiecesAreRead) {
  FaultyFiles files;
  const std::map<std::string, Shape> shapes = {{"w", {8, 16}}};
  const SampleState state = random_state(shapes, 1);
  std::vector<RankSlices> ranks(4);
  for (int64_t r = 0; r < 4; ++r) {
    for (const StateKind kind : kStateKinds) {
      ranks[static_cast<size_t>(r)].add("w", kind, shapes.at("w"),
                                        {Box::whole(shapes.at("w")), 32 * r, 32 * (r + 1)});
    }
    copy_in(state, ranks[static_cast<size_t>(r)]);
  }
  expect_all_ok(save_on_ranks(files, "run", sample_info(1), ranks));
  for (const char* other : {"0", "1", "3"}) {
    ASSERT_TRUE(files
                    .remove_all(fmt::format(
                        "run/checkpoints/step-00000001/shard-0000{}-of-00004.safetensors", other))
                    .ok());
  }
  const auto handle = open_checkpoint(files, "run/checkpoints/step-00000001").value();
  EXPECT_TRUE(load_checkpoint(files, handle, ranks[2].slices).ok());
  EXPECT_EQ(load_checkpoint(files, handle, ranks[1].slices).code(), Code::kBadData);
}

TEST(Durable, TheSameStepAgainIsANoOpInAnyLayout) {
  FaultyFiles files;
  const SampleState state = random_state(sample_shapes(), 4);
  expect_all_ok(save_on_ranks(files, "run", sample_info(5), layout_of(state, 3, 1)));
  const std::string before = files.content("run/checkpoints/step-00000005/manifest.json");
  expect_all_ok(save_on_ranks(files, "run", sample_info(5), layout_of(state, 2, 2)));
  EXPECT_EQ(files.content("run/checkpoints/step-00000005/manifest.json"), before);
  EXPECT_EQ(files.list("run/checkpoints").value(), std::vector<std::string>{"step-00000005"});
}

TEST(Durable, TheSameStepWithOtherValuesIsRefusedOnEveryRank) {
  FaultyFiles files;
  SampleState state = random_state(sample_shapes(), 4);
  expect_all_ok(save_on_ranks(files, "run", sample_info(5), layout_of(state, 3, 1)));
  const SampleState first = state;
  state.at({"scalar", StateKind::kMoment1}).elements[0] += 1;
  for (const Status& status : save_on_ranks(files, "run", sample_info(5), layout_of(state, 2, 2))) {
    EXPECT_EQ(status.code(), Code::kBadData);
    EXPECT_NE(status.message().find("other values"), std::string::npos) << status.message();
  }
  EXPECT_EQ(load_whole(files, "run/checkpoints/step-00000005").value(), first);
  EXPECT_EQ(files.list("run/checkpoints").value(), std::vector<std::string>{"step-00000005"});
}

TEST(Durable, ADamagedCheckpointOfTheStepIsReplaced) {
  const SampleState state = random_state(sample_shapes(), 4);
  const std::string path = "run/checkpoints/step-00000005";
  for (const char* damaged : {"manifest.json", "shard-00001-of-00003.safetensors"}) {
    FaultyFiles files;
    expect_all_ok(save_on_ranks(files, "run", sample_info(5), layout_of(state, 3, 1)));
    const std::string file = path + "/" + damaged;
    files.flip_bit(file, std::ssize(files.content(file)) * 8 - 20);
    ASSERT_FALSE(load_whole(files, path).ok());
    expect_all_ok(save_on_ranks(files, "run", sample_info(5), layout_of(state, 2, 2)));
    EXPECT_EQ(load_whole(files, path).value(), state);
    EXPECT_EQ(files.list("run/checkpoints").value(), std::vector<std::string>{"step-00000005"});
  }
}

TEST(Durable, SlicesThatOverlapOrLeaveAHoleAreNotPublished) {
  for (const bool overlap : {false, true}) {
    FaultyFiles files;
    std::vector<RankSlices> ranks = layout_of(random_state(sample_shapes(), 1), 2, 1);
    if (overlap) {
      ranks[0].slices.push_back(ranks[1].slices[0]);
    } else {
      ranks[1].slices.pop_back();
      ranks[0].slices.pop_back();
    }
    for (const Status& status : save_on_ranks(files, "run", sample_info(5), ranks)) {
      EXPECT_EQ(status.code(), Code::kInternal) << status.message();
    }
    EXPECT_TRUE(files.list("run/checkpoints").value().empty());
  }
}

TEST(Durable, AnOlderGenerationPublishesNothing) {
  FaultyFiles files;
  files.set_content("run/generations/4/claim", "host b");
  CheckpointInfo info = sample_info(5);
  info.generation = 3;
  const SampleState state = random_state(sample_shapes(), 1);
  for (const Status& status : save_on_ranks(files, "run", info, layout_of(state, 2, 1))) {
    EXPECT_EQ(status.code(), Code::kUnavailable);
    EXPECT_NE(status.message().find("generation 4"), std::string::npos) << status.message();
  }
  EXPECT_EQ(load_newest_good(files, "run").status().code(), Code::kMissingInput);
  info.generation = 4;
  expect_all_ok(save_on_ranks(files, "run", info, layout_of(state, 2, 1)));
}

TEST(Durable, OldCheckpointsGoAndTheNewestStay) {
  FaultyFiles files;
  const SampleState state = random_state(sample_shapes(), 1);
  for (const int64_t step : {10, 20, 30, 40})
    ASSERT_TRUE(save_whole(files, "run", sample_info(step), state).ok());
  files.set_content("run/checkpoints/.tmp-step-00000050-g0001/shard", "half");
  files.set_content("run/checkpoints/step-00000050/shard", "no manifest");
  files.set_content("run/checkpoints/step-00000060/manifest.json", "damaged");
  files.set_content("run/checkpoints/step-00000005/manifest.json", "damaged and old");
  files.set_content("run/checkpoints/notes.txt", "not ours");
  std::set<int64_t> usable;
  ASSERT_TRUE(remove_old_checkpoints(files, "run", {.newest = 2, .generation = 1}, usable).ok());
  EXPECT_EQ(
      files.list("run/checkpoints").value(),
      (std::vector<std::string>{"notes.txt", "step-00000030", "step-00000040", "step-00000060"}));
}

TEST(Durable, MultiplesStayForEver) {
  FaultyFiles files;
  const SampleState state = random_state(sample_shapes(), 1);
  std::set<int64_t> usable;
  for (int64_t step = 10; step <= 100; step += 10) {
    ASSERT_TRUE(save_whole(files, "run", sample_info(step), state).ok());
    const KeptCheckpoints kept = {.newest = 2, .multiples_of = 40, .generation = 1};
    ASSERT_TRUE(remove_old_checkpoints(files, "run", kept, usable).ok());
  }
  EXPECT_EQ(files.list("run/checkpoints").value(),
            (std::vector<std::string>{"step-00000040", "step-00000080", "step-00000090",
                                      "step-00000100"}));
}

// Those that stay are not read again; that of the one that goes is, for its generation.
TEST(Durable, NoManifestIsReadTwiceToRemoveOldCheckpoints) {
  FaultyFiles files;
  const SampleState state = random_state(sample_shapes(), 1);
  std::set<int64_t> usable;
  for (const int64_t step : {1, 2, 3, 4})
    ASSERT_TRUE(save_whole(files, "run", sample_info(step), state).ok());
  ASSERT_TRUE(remove_old_checkpoints(files, "run", {.newest = 3, .generation = 1}, usable).ok());
  files.fail_read(1);
  EXPECT_TRUE(remove_old_checkpoints(files, "run", {.newest = 2, .generation = 1}, usable).ok());
  EXPECT_EQ(files.list("run/checkpoints").value(),
            (std::vector<std::string>{"step-00000003", "step-00000004"}));
}

TEST(Durable, ListsNewestFirstAndSaysWhatItPassedOver) {
  FaultyFiles files;
  const SampleState state = random_state(sample_shapes(), 1);
  for (const int64_t step : {9, 100})
    ASSERT_TRUE(save_whole(files, "run", sample_info(step), state).ok());
  files.set_content("run/checkpoints/step-00000200/shard", "no manifest");
  files.set_content("run/checkpoints/step-00000300/manifest.json", "{");
  files.set_content("run/checkpoints/step-00000400/manifest.json",
                    files.content("run/checkpoints/step-00000009/manifest.json"));
  files.set_content("run/checkpoints/step-7/manifest.json", "not a name of ours");
  std::vector<CheckpointRejected> rejected;
  const auto found = list_checkpoints(files, "run", rejected).value();
  EXPECT_EQ(names(found), (std::vector<std::string>{"run/checkpoints/step-00000100",
                                                    "run/checkpoints/step-00000009"}));
  ASSERT_EQ(rejected.size(), 3u);
  EXPECT_TRUE(rejected[0].unfinished);
  EXPECT_FALSE(rejected[1].unfinished);
  EXPECT_NE(rejected[1].reason.find("step-00000300/manifest.json"), std::string::npos)
      << rejected[1].reason;
  EXPECT_NE(rejected[2].reason.find("step 9"), std::string::npos) << rejected[2].reason;
  EXPECT_TRUE(list_checkpoints(files, "elsewhere", rejected).value().empty());
}

TEST(Durable, NamesOfStepsAreExact) {
  EXPECT_EQ(checkpoint_name(100), "step-00000100");
  EXPECT_EQ(parse_checkpoint_name("step-00000100"), 100);
  EXPECT_EQ(parse_checkpoint_name(checkpoint_name(int64_t{1} << 40)), int64_t{1} << 40);
  for (const char* other : {"step-100", "step-00000100x", "step--0000001", "step-", "shard",
                            "step-99999999999999999999"}) {
    EXPECT_FALSE(parse_checkpoint_name(other)) << other;
  }
}

TEST(Durable, ACheckpointOfAnotherModelIsNamedAsOne) {
  FaultyFiles files;
  ASSERT_TRUE(save_whole(files, "run", sample_info(5), random_state(sample_shapes(), 1)).ok());
  const auto handle = open_checkpoint(files, "run/checkpoints/step-00000005").value();
  EXPECT_TRUE(check_parameters(handle, sample_shapes()).ok());
  auto shapes = sample_shapes();
  shapes["embedding.weight"] = {14, 6};
  shapes["blocks.1.norm.weight"] = {6};
  shapes.erase("scalar");
  const Status status = check_parameters(handle, shapes);
  EXPECT_EQ(status.code(), Code::kBadData);
  for (const char* part :
       {"another model", "'embedding.weight' has shape (13, 6) in it, the model (14, 6)",
        "'blocks.1.norm.weight' is not in it", "'scalar' of it is not in the model"}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << part << "\n" << status.message();
  }
  for (const char* name : {"embedding.weight", "blocks.1.norm.weight"}) {
    RankSlices wanted;
    wanted.add(name, StateKind::kMoment1, shapes.at(name), {Box::whole(shapes.at(name)), 0, 6});
    const Status loaded = load_checkpoint(files, handle, wanted.slices);
    EXPECT_EQ(loaded.code(), Code::kBadData);
    EXPECT_NE(loaded.message().find(name), std::string::npos) << loaded.message();
  }
}

TEST(Durable, OpenSaysWhatIsMissing) {
  FaultyFiles files;
  EXPECT_EQ(open_checkpoint(files, "nowhere").status().code(), Code::kMissingInput);
  files.set_content("somewhere/shard", "x");
  EXPECT_NE(open_checkpoint(files, "somewhere").status().message().find("no manifest.json"),
            std::string::npos);
}

TEST(Durable, WorksOnTheRealFileSystem) {
  const TemporaryDirectory directory;
  const SampleState state = random_state(sample_shapes(), 8);
  const std::string run = directory / "run";
  expect_all_ok(save_on_ranks(posix_files(), run, sample_info(5), layout_of(state, 3, 1)));
  expect_all_ok(save_on_ranks(posix_files(), run, sample_info(6), layout_of(state, 1, 1)));
  EXPECT_EQ(load_newest_good(posix_files(), run)->state, state);
  EXPECT_EQ(load_newest_good(posix_files(), run)->step, 6);
  std::set<int64_t> usable;
  ASSERT_TRUE(
      remove_old_checkpoints(posix_files(), run, {.newest = 1, .generation = 1}, usable).ok());
  EXPECT_EQ(posix_files().list(checkpoints_path(run)).value(),
            std::vector<std::string>{"step-00000006"});
}

TEST(StateDigest, DoesNotDependOnTheLayout) {
  const SampleState state = random_state(sample_shapes(), 5);
  std::set<std::string> digests;
  for (int ranks = 1; ranks <= 5; ++ranks) {
    FaultyFiles files;
    expect_all_ok(save_on_ranks(files, "run", sample_info(5), layout_of(state, ranks, 7)));
    const auto handle = open_checkpoint(files, "run/checkpoints/step-00000005").value();
    for (const int64_t window : {int64_t{1}, int64_t{10}, kStateDigestWindow}) {
      digests.insert(state_digest(files, handle, window).value().to_hex());
    }
  }
  EXPECT_EQ(digests.size(), 1u);
}

// The documented encoding, spelled out.
TEST(StateDigest, IsTheDigestOfTheDocumentedBytes) {
  FaultyFiles files;
  const SampleState state = random_state({{"b", {2, 3}}, {"a", {}}}, 5);
  ASSERT_TRUE(save_whole(files, "run", sample_info(77), state).ok());
  std::string bytes;
  const auto put = [&](uint64_t value) {
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  };
  const auto put_tensors = [&](const std::string& name) {
    for (const StateKind kind : kStateKinds) {
      const std::vector<float>& elements = state.at({name, kind}).elements;
      const Digest128 digest = digest128(elements.data(), elements.size() * sizeof(float));
      put(digest.high);
      put(digest.low);
    }
  };
  put(1);
  bytes += "a";
  put(0);
  put_tensors("a");
  put(1);
  bytes += "b";
  put(2);
  put(2);
  put(3);
  put_tensors("b");
  put(77);
  const auto handle = open_checkpoint(files, "run/checkpoints/step-00000077").value();
  EXPECT_EQ(state_digest(files, handle).value(), digest128(bytes.data(), bytes.size()));
}

TEST(StateDigest, SeesEveryPartOfTheState) {
  const SampleState state = random_state(sample_shapes(), 5);
  std::set<std::string> digests;
  const auto digest_of = [&](const SampleState& changed, int64_t step) {
    FaultyFiles files;
    EXPECT_TRUE(save_whole(files, "run", sample_info(step), changed).ok());
    const auto handle = open_checkpoint(files, "run/checkpoints/" + checkpoint_name(step)).value();
    digests.insert(state_digest(files, handle).value().to_hex());
  };
  digest_of(state, 1);
  digest_of(state, 2);
  for (const auto& [key, tensor] : state) {
    SampleState changed = state;
    changed.at(key).elements.back() += 1;
    digest_of(changed, 1);
  }
  EXPECT_EQ(digests.size(), 2 + state.size());
}

}  // namespace
}  // namespace leasehold
