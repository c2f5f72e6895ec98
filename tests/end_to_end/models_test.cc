// Tests the exchange of models as a user does it: train, export, import, start a run from the
// import, and continue it.

#include "runtime/base/files.h"
#include "tests/end_to_end/job_fixture.h"

namespace leasehold {
namespace {

class ModelsTest : public JobFixture {
 protected:
  double evaluate(const std::string& checkpoint) {
    const Finished evaluated =
        train_tool({"evaluate", checkpoint, "--data", directory_ / "data/validation.bin"});
    EXPECT_EQ(evaluated.exit_code, 0) << evaluated.errors;
    return std::stod(evaluated.output.substr(evaluated.output.find("\"loss\":") + 7));
  }
  Finished start(int ranks, const std::string& name, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"--set", "run.start_from=" + (directory_ / "imported")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return train(ranks, name, arguments);
  }
  // Trains "run" for a few steps, exports it to "folder" and imports that as "imported".
  void make_imported(const std::string& dtype) {
    expect_ended(train(2, "run", {"--stop-after", "5"}), 75, {});
    expect_ended(tool({"export", run_dir("run"), directory_ / "folder", "--dtype", dtype,
                       "--shard-size", "40000"}),
                 0, {"bytes in"});
    expect_ended(tool({"import", directory_ / "folder", "--output", directory_ / "imported"}), 0,
                 {"at step 0"});
  }
};

TEST_F(ModelsTest, ARunStartsFromAnImportedModelOnAnyNumberOfRanks) {
  make_imported("fp32");
  const double loss = evaluate(run_dir("run"));
  EXPECT_EQ(evaluate(directory_ / "imported"), loss);

  expect_ended(start(1, "one"), 0, {});
  const std::string first_line = metrics("one").front();
  EXPECT_EQ(metrics("one").size(), 50u);
  EXPECT_NE(events("one").find("weights of step 0 from"), std::string::npos) << events("one");
  // The ranks' digests of their parts combine to inspect's digest of the whole.
  const Finished inspected = tool({"inspect", directory_ / "imported", "--json"});
  const std::string key = "\"state_digest\": \"";
  const std::string digest = inspected.output.substr(inspected.output.find(key) + key.size(), 32);
  EXPECT_NE(events("one").find(digest), std::string::npos) << digest << events("one");
  // Run with another layout and an interruption; the second part no longer needs the imported
  // weights.
  expect_ended(start(3, "three", {"--stop-after", "5"}), 75, {});
  throw_if_error(posix_files().rename(directory_ / "imported", directory_ / "away"));
  EXPECT_NE(events("three").find(digest), std::string::npos) << events("three");
  expect_ended(start(2, "three"), 0, {});
  EXPECT_EQ(metrics("three"), metrics("one"));
  EXPECT_EQ(state_digest("three"), state_digest("one"));
  // The weights differ from those of a run that draws them.
  expect_ended(train(1, "drawn", {"--stop-after", "1"}), 75, {});
  EXPECT_NE(metrics("drawn").front(), first_line);
  // Export the trained model again.
  expect_ended(tool({"export", run_dir("one"), directory_ / "again"}), 0, {"1 file"});
}

TEST_F(ModelsTest, WhatARunStartsFromIsPartOfItsIdentity) {
  make_imported("bf16");
  expect_ended(start(1, "run2", {"--stop-after", "1"}), 75, {});
  expect_ended(train(1, "run2"), 78, {"run.start_from"});
  expect_ended(start(1, "run"), 78, {"run.start_from"});  // it began without an import
  throw_if_error(posix_files().remove_all(directory_ / "imported"));
  ASSERT_EQ(tool({"import", directory_ / "folder", "--output", directory_ / "imported"}).exit_code,
            0);
  expect_ended(start(1, "run2"), 78, {"run.start_from", "lineage"});  // another import
}

TEST_F(ModelsTest, WhatCannotBeStartedFromIsRefused) {
  expect_ended(start(2, "missing"), 66, {"run.start_from", "imported"});
  make_imported("fp32");
  expect_ended(start(2, "other", {"--set", "model.hidden=64", "--set", "model.layers=1"}), 78,
               {"run.start_from", "model.hidden: 32", "64", "model.layers"});
  expect_ended(start(2, "longer", {"--set", "model.sequence=8"}), 78,
               {"run.start_from", "embedding.position.weight"});
  expect_ended(train(2, "a_run", {"--set", "run.start_from=" + run_dir("run")}), 66,
               {"not a checkpoint"});
  const std::string shard = directory_ / "imported/shard-00000-of-00001.safetensors";
  std::string content = read_file(posix_files(), shard).value();
  content[content.size() / 2] ^= 4;
  throw_if_error(publish_file(posix_files(), shard, content, "damage"));
  expect_ended(start(2, "damaged"), 65, {"shard-00000"});
}

TEST_F(ModelsTest, CommandsRefuseWhatTheyCannotRead) {
  const std::string out = directory_ / "out";
  expect_ended(tool({"import", directory_ / "nowhere", "--output", out}), 66, {"nowhere"});
  expect_ended(tool({"import", directory_.path(), "--output", out}), 66, {"config.json"});
  throw_if_error(publish_file(posix_files(), directory_ / "config.json",
                              R"({"model_type": "mamba"})", "test"));
  expect_ended(tool({"import", directory_.path(), "--output", out}), 78, {"mamba"});
  expect_ended(tool({"import", job_, "--output", out}), 65, {"llm.c"});
  expect_ended(tool({"import", directory_.path()}), 64, {"--output"});
  expect_ended(tool({"export", directory_ / "nowhere", out}), 66, {"nowhere"});
  expect_ended(tool({"export", directory_ / "nowhere", out, "--dtype", "fp64"}), 64, {"bf16"});
  EXPECT_FALSE(posix_files().exists(out));
}

TEST_F(ModelsTest, PythonsSafetensorsOpensAnExportedFolder) {
  std::string python;
  for (const std::string candidate : {"python3", "/usr/bin/python3"}) {
    const Finished tried =
        run_program({"env", candidate, "-c", "import safetensors"}, directory_.path(), 60);
    if (tried.exit_code == 0 && python.empty()) python = candidate;
  }
  if (python.empty()) GTEST_SKIP() << "no python3 here has the package safetensors";
  make_imported("bf16");
  constexpr const char* kScript = R"(
import glob, safetensors, sys
names = {}
for path in sorted(glob.glob(sys.argv[1] + "/*.safetensors")):
    for name, tensor in safetensors.deserialize(open(path, "rb").read()):
        assert name not in names
        assert tensor["dtype"] == "BF16", tensor["dtype"]
        names[name] = tensor["shape"]
assert names["transformer.wte.weight"] == [256, 32], names
assert names["transformer.h.1.attn.c_attn.weight"] == [32, 96], names
print(len(names))
)";
  const Finished opened =
      run_program({"env", python, "-c", kScript, directory_ / "folder"}, directory_.path(), 60);
  EXPECT_EQ(opened.exit_code, 0) << opened.errors;
  EXPECT_EQ(opened.output, "28\n");
}

}  // namespace
}  // namespace leasehold
