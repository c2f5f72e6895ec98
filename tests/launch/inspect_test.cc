#include "launch/inspect.h"

#include <cstring>
#include <gtest/gtest.h>

#include "runtime/checkpoint/state_digest.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/faulty_files.h"

namespace leasehold {
namespace {

struct SavedRun {
  FaultyFiles files;
  SampleState state = random_state(sample_shapes(), 1);

  SavedRun() {
    EXPECT_TRUE(save_whole(files, "run", sample_info(10), state).ok());
    std::mt19937_64 random(1);
    std::vector<RankSlices> ranks = random_layout(sample_shapes(), 3, random);
    for (RankSlices& rank : ranks) copy_in(state, rank);
    for (const Status& status : save_on_ranks(files, "run", sample_info(20), ranks))
      EXPECT_TRUE(status.ok());
  }
  std::string digest(int64_t step) {
    const auto handle = open_checkpoint(files, "run/checkpoints/" + checkpoint_name(step)).value();
    return state_digest(files, handle).value().to_hex();
  }
  // Flips a bit near the end of the manifest, or of the first piece of a shard.
  void damage(const std::string& name) {
    const std::string path = "run/checkpoints/" + name;
    const std::string content = files.content(path);
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, content.data(), sizeof(header_bytes));
    files.flip_bit(path, name.ends_with(".json")
                             ? std::ssize(content) * 8 - 20
                             : static_cast<int64_t>(sizeof(header_bytes) + header_bytes) * 8 + 3);
  }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Inspect, OfARunShowsTheNewest) {
  SavedRun run;
  const Inspection shown = inspect(run.files, "run/", {});
  EXPECT_TRUE(shown.status.ok()) << shown.status.message();
  EXPECT_TRUE(contains(shown.output, "run/checkpoints/step-00000020: good\n")) << shown.output;
  EXPECT_TRUE(contains(shown.output, run.digest(20))) << shown.output;
  EXPECT_TRUE(contains(shown.output, "written by 3 rank(s)")) << shown.output;
  EXPECT_FALSE(contains(shown.output, "step-00000010")) << shown.output;
}

TEST(Inspect, OfACheckpointShowsThatOne) {
  SavedRun run;
  const Inspection shown = inspect(run.files, "run/checkpoints/step-00000010/", {.json = true});
  EXPECT_TRUE(shown.status.ok());
  EXPECT_TRUE(shown.output.starts_with("{")) << shown.output;
  EXPECT_TRUE(contains(shown.output, fmt::format("\"state_digest\": \"{}\"", run.digest(10))))
      << shown.output;
  EXPECT_TRUE(contains(shown.output, "\"ranks\": 1")) << shown.output;
  EXPECT_TRUE(contains(shown.output, "\"good\": true")) << shown.output;
}

TEST(Inspect, ShowsTheAlgorithmsOfProducts) {
  SavedRun run;
  EXPECT_FALSE(contains(inspect(run.files, "run", {.json = true}).output, "algorithms"));
  CheckpointInfo info = sample_info(30);
  info.algorithms = "algorithms of cuBLASLt 13\nforward 1 = 2\nweight 1 = none\n";
  EXPECT_TRUE(save_whole(run.files, "run", info, run.state).ok());
  const std::string shown = inspect(run.files, "run", {}).output;
  EXPECT_TRUE(contains(shown, "algorithms    of 2 products, by cuBLASLt 13\n")) << shown;
  const std::string json = inspect(run.files, "run", {.json = true}).output;
  EXPECT_TRUE(contains(json, "\"forward 1\": \"2\"")) << json;
}

TEST(Inspect, AllShowsEveryOneAndFailsForADamagedOne) {
  SavedRun run;
  run.damage("step-00000010/shard-00000-of-00001.safetensors");
  run.files.set_content("run/checkpoints/step-00000030/shard",
                        "unfinished: never was a checkpoint");
  EXPECT_TRUE(inspect(run.files, "run", {}).status.ok());
  for (const bool json : {false, true}) {
    const Inspection shown = inspect(run.files, "run", {.json = json, .all = true});
    EXPECT_EQ(shown.status.code(), Code::kBadData);
    EXPECT_TRUE(contains(shown.output, run.digest(20))) << shown.output;
    EXPECT_TRUE(contains(shown.output, "step-00000010/shard-00000-of-00001.safetensors: piece"))
        << shown.output;
    EXPECT_FALSE(contains(shown.output, "step-00000030")) << shown.output;
    EXPECT_EQ(shown.output.starts_with("["), json) << shown.output;
  }
}

TEST(Inspect, NamesEveryDamagedFile) {
  SavedRun run;
  run.damage("step-00000020/shard-00000-of-00003.safetensors");
  EXPECT_TRUE(
      run.files.remove_all("run/checkpoints/step-00000020/shard-00002-of-00003.safetensors").ok());
  const Inspection shown = inspect(run.files, "run", {});
  EXPECT_EQ(shown.status.code(), Code::kBadData);
  EXPECT_TRUE(contains(shown.output, "shard-00000-of-00003.safetensors: piece")) << shown.output;
  EXPECT_TRUE(contains(shown.output,
                       "shard-00002-of-00003.safetensors: this shard of the checkpoint is missing"))
      << shown.output;
  EXPECT_FALSE(contains(shown.output, "state_digest")) << shown.output;
}

TEST(Inspect, ADamagedManifestIsTheNewestNotPassedOver) {
  SavedRun run;
  run.damage("step-00000020/manifest.json");
  const Inspection shown = inspect(run.files, "run", {});
  EXPECT_EQ(shown.status.code(), Code::kBadData);
  EXPECT_TRUE(contains(shown.output, "run/checkpoints/step-00000020: DAMAGED")) << shown.output;
  EXPECT_EQ(inspect(run.files, "run/checkpoints/step-00000020", {.json = true}).status.code(),
            Code::kBadData);
}

TEST(Inspect, NothingThereIsMissingInput) {
  FaultyFiles files;
  EXPECT_EQ(inspect(files, "nowhere", {}).status.code(), Code::kMissingInput);
  ASSERT_TRUE(files.make_directories("run/checkpoints").ok());
  EXPECT_EQ(inspect(files, "run", {.all = true}).status.code(), Code::kMissingInput);
}

TEST(Inspect, AStorageFailureIsNotCalledDamage) {
  SavedRun run;
  run.files.fail_read(4);
  EXPECT_EQ(inspect(run.files, "run", {}).status.code(), Code::kStorage);
}

}  // namespace
}  // namespace leasehold
