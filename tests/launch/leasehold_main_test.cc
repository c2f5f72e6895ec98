// Tests the `leasehold` program as a user meets it: exit codes, messages and files.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "launch/job_schema.h"
#include "runtime/base/files.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

Outcome shell(const std::string& command) {
  Outcome outcome;
  FILE* pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> buffer;
  for (size_t got; (got = ::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    outcome.output.append(buffer.data(), got);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

Outcome leasehold_tool(const std::string& arguments) {
  return shell(LEASEHOLD_TOOL " " + arguments);
}

void expect(const Outcome& outcome, int exit_code, std::initializer_list<std::string> parts) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
  for (const std::string& part : parts) {
    EXPECT_NE(outcome.output.find(part), std::string::npos)
        << "'" << part << "' is not in: " << outcome.output;
  }
}

TEST(Leasehold, NeedsNeitherMpiNorCuda) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's build keeps every library that it was given";
#endif
  const Outcome outcome = shell("ldd " LEASEHOLD_TOOL);
  expect(outcome, 0, {"libc.so"});
  for (const char* library :
       {"libmpi", "libcuda", "libcublas", "libnccl", "libopen-rte", "openblas"}) {
    EXPECT_EQ(outcome.output.find(library), std::string::npos) << outcome.output;
  }
}

TEST(Leasehold, BadUsage) {
  expect(leasehold_tool(""), 64, {"missing command", "prepare"});
  expect(leasehold_tool("frobnicate"), 64, {"frobnicate"});
  expect(leasehold_tool("--frobnicate"), 64, {"--frobnicate"});
  expect(leasehold_tool("prepare"), 64, {"required"});
  expect(leasehold_tool("prepare --tokenizer byte --output x"), 64, {"FILE"});
  expect(leasehold_tool("prepare --tokenizer byte --output x --validation-fraction y z"), 64,
         {"--validation-fraction"});
}

TEST(Leasehold, Help) {
  expect(leasehold_tool("--version"), 0, {"leasehold 0."});
  expect(leasehold_tool("--help"), 0, {"prepare", "inspect", "job-keys"});
  expect(leasehold_tool("prepare --help"), 0, {"--tokenizer", "byte"});
}

TEST(Leasehold, JobKeysPrintsTheTable) {
  const Outcome outcome = leasehold_tool("job-keys");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.output, job_keys_markdown());
}

TEST(Leasehold, InspectOfNothingIsAMissingInput) {
  TemporaryDirectory directory;
  expect(leasehold_tool("inspect " + directory.path()), 66, {"leasehold: ", directory.path()});
  expect(leasehold_tool("inspect --json " + (directory / "gone")), 66, {directory / "gone"});
  expect(leasehold_tool("inspect"), 64, {"PATH"});
}

class PrepareCommandTest : public ::testing::Test {
 protected:
  PrepareCommandTest() {
    std::ofstream(directory_ / "text") << "In the beginning God created the heaven and the earth.";
    std::ofstream(directory_ / "empty");
  }
  Outcome prepare(const std::string& output, const std::string& inputs,
                  const std::string& tokenizer = "byte") {
    return leasehold_tool("prepare --tokenizer " + tokenizer + " --output " + output + " " +
                          inputs);
  }
  TemporaryDirectory directory_;
};

TEST_F(PrepareCommandTest, WritesTheThreeFilesAndSaysSo) {
  expect(prepare(directory_ / "out", directory_ / "text"), 0,
         {directory_ / "out", "54 bytes", "52 tokens to train on", "2 to validate on"});
  EXPECT_EQ(posix_files().list(directory_ / "out").value(),
            (std::vector<std::string>{"tokenizer.json", "train.bin", "validation.bin"}));
}

TEST_F(PrepareCommandTest, TokenizersFromFilesAndFormatsByName) {
  std::ofstream(directory_ / "d.jsonl") << "{\"text\": \"the earth\"}\n{\"text\": \"and\"}\n";
  const std::string bpe = LEASEHOLD_SOURCE_DIR "/tests/fixtures/bpe";
  const std::string out = directory_ / "out";
  expect(prepare(out, directory_ / "d.jsonl", bpe), 0, {"2 to validate on"});
  expect(prepare(out, "--threads 2 --format text " + (directory_ / "d.jsonl"), bpe + "/llama3"), 0,
         {out, "38 bytes"});
  EXPECT_TRUE(std::filesystem::exists(out + "/tokenizer.json"));
  const std::string before = read_file(posix_files(), out + "/train.bin").value();
  expect(prepare(out, "--format csv " + (directory_ / "d.jsonl"), bpe), 64, {"csv", "jsonl"});
  expect(prepare(out, "--threads 0 " + (directory_ / "d.jsonl"), bpe), 64,
         {"--threads: '0' is not"});
  expect(prepare(out, "--format jsonl " + (directory_ / "text"), bpe), 65, {"line 1", "text"});
  expect(prepare(out, directory_ / "text", directory_.path()), 66, {"merges.txt"});
  EXPECT_EQ(read_file(posix_files(), out + "/train.bin").value(), before);
}

TEST_F(PrepareCommandTest, TokensAroundDocumentsAreNamed) {
  const std::string lines = directory_ / "d.jsonl";
  std::ofstream(lines) << "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
  const std::string out = directory_ / "out";
  const auto with = [&](const std::string& options) {
    return prepare(out, "--validation-fraction 0 " + options + " " + lines);
  };
  expect(with(""), 0, {"warning", "--end-token TEXT", "2 tokens"});
  const Outcome none = with("--end-token none");
  expect(none, 0, {"2 tokens"});
  EXPECT_EQ(none.output.find("warning"), std::string::npos) << none.output;
  expect(with("--end-token . --begin-token '<'"), 0, {"6 tokens"});
  // The token is stored with the tokenizer.
  expect(prepare(out, "--validation-fraction 0 " + lines, out + "/tokenizer.json"), 0,
         {"4 tokens"});
  expect(with("--end-token '</s>'"), 64, {"--end-token '</s>'", "not a single token"});
  expect(with("--begin-token own"), 64, {"--begin-token own", "names no such token"});
  expect(prepare(out, "--end-token . " + (directory_ / "text")), 64, {"no input has some"});
  expect(with("--field body"), 65, {"line 1", "no \"body\": it has \"text\""});
  expect(with("--field a,b"), 64, {"--field 'a,b'"});
}

TEST_F(PrepareCommandTest, StandardInputAndPackedFiles) {
  const std::string out = directory_ / "out";
  const std::string tool =
      LEASEHOLD_TOOL " prepare --tokenizer byte --validation-fraction 0 --output " + out + " ";
  expect(shell("printf 'In the beginning' | " + tool + "-"), 0, {"16 bytes"});
  expect(shell("printf 'In the beginning' | gzip | " + tool + "-"), 0, {"16 tokens to train"});
  expect(shell(": | " + tool + "-"), 65, {"standard input is empty"});
  expect(shell(tool + "- < " + directory_.path()), 66, {"standard input"});
}

TEST_F(PrepareCommandTest, BadInput) {
  const std::string out = directory_ / "out";
  const std::string text = directory_ / "text";
  expect(prepare(out, directory_ / "gone"), 66, {"leasehold: ", directory_ / "gone"});
  expect(prepare(out, text + " " + (directory_ / "empty")), 65, {directory_ / "empty", "is empty"});
  expect(prepare(text + "/sub", text), 74, {text + "/sub"});
  expect(prepare(out, text, "gpt2"), 64, {"'gpt2'", "byte"});
  EXPECT_FALSE(std::filesystem::exists(out));
}

// A limit on the size of files makes write(2) fail as a full disk does.
TEST_F(PrepareCommandTest, AFullDiskIsAStorageErrorAndLeavesNothing) {
  std::ofstream(directory_ / "large") << std::string(100000, 'x');
  const std::string out = directory_ / "out";
  const Outcome outcome =
      shell("trap '' XFSZ; ulimit -f 8; " LEASEHOLD_TOOL " prepare --tokenizer byte --output " +
            out + " " + (directory_ / "large"));
  expect(outcome, 74, {"train.bin", "File too large"});
  EXPECT_FALSE(std::filesystem::exists(out));
}

class PlanCommandTest : public testing::Test {
 protected:
  static constexpr const char* kRows =
      "id\tgpu\tnum_gpus\tprecision\tlayers\thidden\theads\tvocab\tseq\tgbs\tsource\tstep_s\n";

  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
    return directory_ / name;
  }

  const TemporaryDirectory directory_;
};

TEST_F(PlanCommandTest, RowsArePredictedOneALine) {
  const std::string row = "a\tH100\t8\tBF16\t32\t4096\t32\t50000\t2048\t64\ts\t\n";
  const std::string rows = file("rows.tsv", kRows + row);
  const Outcome outcome = leasehold_tool("plan --rows " + rows);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  double seconds = 0;
  double low = 0;
  double high = 0;
  ASSERT_EQ(std::sscanf(outcome.output.c_str(), "a\t%lf\t%lf\t%lf\n", &seconds, &low, &high), 3)
      << outcome.output;
  EXPECT_LT(low, seconds);
  EXPECT_LT(seconds, high);
  const std::string measured =
      file("measured.tsv",
           kRows + std::string("b\tH100\t8\tBF16\t32\t4096\t32\t50000\t2048\t64\ts\t100\n"));
  const Outcome scaled = leasehold_tool("plan --rows " + rows + " --calibrate " + measured);
  double scaled_s = 0;
  ASSERT_EQ(std::sscanf(scaled.output.c_str(), "a\t%lf", &scaled_s), 1) << scaled.output;
  EXPECT_GT(scaled_s, 10 * seconds);
}

TEST_F(PlanCommandTest, BadRowsAreNamedAndTheOthersPrinted) {
  const std::string good = "a\tH100\t8\tBF16\t32\t4096\t32\t50000\t2048\t64\ts\t\n";
  const std::string unknown = "b\tV100\t8\tBF16\t32\t4096\t32\t50000\t2048\t64\ts\t\n";
  const std::string rows = file("rows.tsv", kRows + unknown + good);
  expect(leasehold_tool("plan --rows " + rows), 65,
         {"a\t1.", "rows.tsv:2: b: there are no figures for 'V100'", "1 of 2 rows"});
  expect(leasehold_tool("plan --rows " + rows + " --calibrate " + rows), 65,
         {"rows.tsv:2: b: step_s and tok_s_gpu are both empty"});
  expect(leasehold_tool("plan --rows " + (directory_ / "gone")), 66, {"gone"});
}

TEST_F(PlanCommandTest, OptionsThatDoNotGoTogether) {
  expect(leasehold_tool("plan"), 64, {"a job file, or --rows"});
  expect(leasehold_tool("plan --rows x --json"), 64, {"--json"});
  expect(leasehold_tool("plan job.toml --calibrate x"), 64, {"--calibrate"});
  expect(leasehold_tool("plan job.toml --world 0"), 64, {"--world"});
  expect(leasehold_tool("plan " + (directory_ / "gone.toml")), 66, {"gone.toml"});
}

TEST_F(PlanCommandTest, AJobIsPlannedBeforeItRuns) {
  file("text", std::string(4096, 'x'));
  expect(leasehold_tool("prepare --tokenizer byte --output " + (directory_ / "data") + " " +
                        (directory_ / "text")),
         0, {});
  const std::string job = file("job.toml", R"([run]
dir = "run"
steps = 100
[model]
family = "llama"
layers = 4
hidden = 128
heads = 4
sequence = 64
[data]
train = "data/train.bin"
[batch]
sequences = 16
microbatch = 2
[optimizer]
lr = 1e-3
[device]
kind = "cuda"
precision = "bf16"
)");
  expect(leasehold_tool("plan " + job), 64, {"--hardware is needed", "GB300"});
  expect(leasehold_tool("plan --hardware H100 " + job), 64, {"--world is needed"});
  expect(leasehold_tool("plan --hardware V100 --world 4 " + job), 78, {"'V100'", "GB300"});
  expect(leasehold_tool("plan --hardware H100 --world 4 " + job), 0,
         {"step  ", "products", "memory  ", "GiB", "target  ", "1.024e+05 tokens", "fastest",
          "not been timed"});
  expect(leasehold_tool("plan --json --tokens 2048000 --hardware H100 --world 8 " + job), 0,
         {"\"terms\"", "\"target_tokens\": 2048000.0", "\"rejected\"", "\"why\""});
  expect(leasehold_tool("plan --hardware H100 --world 4 --budget 5 " + job), 64,
         {"--until and --budget are about a calendar"});
  const std::string leases = file("leases.toml", R"([[lease]]
id = "owned"
hosts = ["a"]
slots = 2
[[lease]]
id = "texas"
hosts = ["b"]
slots = 2
begin = "+1d"
end = "+3d"
price_per_slot_hour = 2.5
)");
  const std::string with = " --set lease.calendar=" + leases + " --tokens 9000000000000 " + job;
  expect(leasehold_tool("plan --hardware H100 --until +4d" + with), 0,
         {"4 x H100", "trains 2 ranks", "trains 4 ranks", "240.00 USD", "--until ends the plan"});
  expect(leasehold_tool("plan --hardware H100 --budget 120" + with), 0,
         {"120 USD are spent there", "120.00 USD"});
  expect(leasehold_tool("plan --hardware H100 --until yesterday" + with), 64, {"'yesterday'"});
  expect(leasehold_tool("plan --json --hardware H100 --until +4d" + with), 0,
         {"\"periods\"", "\"trained_slot_hours\"", "\"usd\": 240"});
  const std::string small = file("small.toml", R"(name = "Small"
units = 10
[memory]
gb = 0.0001
gb_s = 100
[products]
bf16 = 10
[attention]
forward = 5
backward = 5
[links]
domain_gb_s = 10
network_gb_s = 1
)");
  expect(leasehold_tool("plan --hardware " + small + " --world 4 " + job), 78,
         {"no layout of 4 ranks fits into Small", "parallel.recompute"});
}

}  // namespace
}  // namespace leasehold
