#include "tests/end_to_end/job_fixture.h"

#include <cstdlib>
#include <fmt/format.h>
#include <sstream>

#include "runtime/base/files.h"
#include "runtime/base/random.h"

namespace leasehold {

namespace {

// A run that takes at most twenty seconds on a fast machine: 2 layers of 32 channels, 8
// microbatches of 2 x 16 tokens.
constexpr const char* kJob = R"([run]
name = "tiny"
dir = "run"
steps = 50
seed = 7
validate_every_steps = 20

[model]
family = "gpt2"
layers = 2
hidden = 32
heads = 4
sequence = 16
dropout = 0.1

[data]
train = "data/train.bin"
validation = "data/validation.bin"

[batch]
sequences = 16
microbatch = 2

[optimizer]
lr = 3e-3
warmup_steps = 5

[launch]
stuck_timeout_s = 20
)";

std::string words(int64_t count) {
  static constexpr const char* kWords[] = {"in ",   "the ", "beginning ", "was ",
                                           "word ", "and ", "light\n",    "day "};
  const RandomSite site = RandomSite::make(3, "words");
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += kWords[site.word(static_cast<uint64_t>(i)) % 8];
  return text;
}

}  // namespace

JobFixture::JobFixture() : job_(directory_ / "job.toml") {
  FileSystem& files = posix_files();
  throw_if_error(publish_file(files, job_, kJob, "test"));
  throw_if_error(publish_file(files, directory_ / "text.txt", words(4000), "test"));
  const Finished prepared = tool({"prepare", "--tokenizer", "byte", "--output", directory_ / "data",
                                  "--validation-fraction", "0.1", directory_ / "text.txt"});
  LEASEHOLD_CHECK(prepared.exit_code == 0, "prepare: {}", prepared.errors);
}

std::string JobFixture::program(const std::string& name) const {
  const char* build = std::getenv("LEASEHOLD_BUILD");
  LEASEHOLD_CHECK(build != nullptr, "LEASEHOLD_BUILD is not set");
  return std::string(build) + "/" + name;
}

std::vector<std::string> JobFixture::mpi_environment() const {
  return {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
          "OMPI_MCA_mpi_yield_when_idle=1", "OMPI_MCA_rmaps_base_oversubscribe=1"};
}

std::vector<std::string> JobFixture::train_command(
    int ranks, const std::string& name, const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {program("mpirun"), "-np", std::to_string(ranks)};
  if (a_node_each_) {
    std::string nodes;
    for (int rank = 0; rank < ranks; ++rank) {
      nodes += fmt::format("{}node-{}:1", rank == 0 ? "" : ",", rank);
    }
    command.insert(command.end(), {program("leasehold"), "node", nodes, "--"});
  }
  command.insert(command.end(),
                 {program("leasehold-train"), job_, "--set", "run.dir=" + run_dir(name)});
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

Finished JobFixture::train(int ranks, const std::string& name,
                           const std::vector<std::string>& arguments, double timeout_s) const {
  return run_program(train_command(ranks, name, arguments), directory_.path(), timeout_s,
                     mpi_environment());
}

Finished JobFixture::tool(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {program("leasehold")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_program(command, directory_.path(), 60);
}

Finished JobFixture::train_tool(const std::vector<std::string>& arguments,
                                const std::vector<std::string>& environment) const {
  std::vector<std::string> command = {program("leasehold-train")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_program(command, directory_.path(), 60, environment);
}

std::vector<std::string> JobFixture::without_gpus() {
  return {"CUDA_VISIBLE_DEVICES=", "LEASEHOLD_EMULATED_GPUS=0"};
}

std::vector<std::string> JobFixture::metrics(const std::string& name) const {
  const auto content = read_file(posix_files(), run_dir(name) + "/metrics.jsonl");
  if (!content.ok()) return {content.status().message()};
  std::istringstream lines(*content);
  std::vector<std::string> values;
  for (std::string line; std::getline(lines, line);) {
    const size_t validation = line.find("\"validation_loss\"");
    values.push_back(line.substr(0, line.find("\"step_time_s\"")) +
                     (validation == std::string::npos ? "" : line.substr(validation)));
  }
  return values;
}

std::string JobFixture::events(const std::string& name) const {
  const auto content = read_file(posix_files(), run_dir(name) + "/events.jsonl");
  return content.ok() ? *content : content.status().message();
}

std::string JobFixture::state_digest(const std::string& name) const {
  const Finished inspected = tool({"inspect", run_dir(name), "--json"});
  const std::string key = "\"state_digest\": \"";
  const size_t at = inspected.output.find(key);
  if (inspected.exit_code != 0 || at == std::string::npos) {
    return "inspect failed: " + inspected.errors + inspected.output;
  }
  return inspected.output.substr(at + key.size(), 32);
}

void JobFixture::expect_ended(const Finished& finished, int exit_code,
                              const std::vector<std::string>& words) {
  EXPECT_FALSE(finished.timed_out);
  EXPECT_EQ(finished.exit_code, exit_code) << finished.errors;
  for (const std::string& word : words) {
    EXPECT_NE(finished.errors.find(word), std::string::npos) << "'" << word << "' is not in:\n"
                                                             << finished.errors;
  }
}

}  // namespace leasehold
