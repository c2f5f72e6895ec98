#include "tests/end_to_end/launch_fixture.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "runtime/base/clock.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/run_directory.h"
#include "runtime/checkpoint/snapshot_slot.h"

namespace leasehold {

namespace {

constexpr double kPollS = 0.01;

// A job with steps of about 10 ms and 16 microbatches in 8 lanes. A checkpoint takes less than half
// a megabyte.
constexpr const char* kLaunchJob = R"([run]
name = "leased"
dir = "run"
steps = {}
seed = 7
validate_every_steps = 100

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
sequences = 32
microbatch = 2
lanes = 8

[optimizer]
lr = 3e-3
warmup_steps = 5

[checkpoint]
every_steps = 40
snapshot = "every"

[lease]
calendar = "leases.toml"

[launch]
margin_s = 1
stuck_timeout_s = 20
start_timeout_s = 60
)";

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> pids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size()) pids.push_back(pid);
  }
  return pids;
}

// Returns the value of a variable in /proc/PID/environ; "" if it is not set.
std::string variable(const std::string& environment, const std::string& name) {
  const std::string key = name + "=";
  for (size_t begin = 0; begin < environment.size();) {
    const size_t end = std::min(environment.find('\0', begin), environment.size());
    if (environment.compare(begin, key.size(), key) == 0) {
      return environment.substr(begin + key.size(), end - begin - key.size());
    }
    begin = end + 1;
  }
  return "";
}

}  // namespace

LaunchFixture::LaunchFixture(int64_t steps) : calendar_(directory_ / "leases.toml"), steps_(steps) {
  throw_if_error(
      publish_file(posix_files(), job_, fmt::format(fmt::runtime(kLaunchJob), steps), "test"));
}

LaunchFixture::~LaunchFixture() {
  // Kill supervisors and keepers until none is left, or they would start something again.
  wait_until([this] {
    const auto left = processes();
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    return left.empty();
  });
  supervisors_.clear();
  // Every run of the test, also one that was stopped and keeps its snapshots.
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path()))
    if (std::filesystem::exists(entry.path() / "key")) tool({"clean", entry.path().string()});
  for (const std::string& path : memory_files()) ::unlink(path.c_str());
}

std::string LaunchFixture::launcher() {
  const char* named = std::getenv("LEASEHOLD_LAUNCHER");
  return named != nullptr ? named : LEASEHOLD_BUILT_WITH_LAUNCHER;
}

double LaunchFixture::now_s() { return system_clock().unix_s(); }

void LaunchFixture::write_calendar_text(const std::string& text) const {
  throw_if_error(publish_file(posix_files(), calendar_, text, "test"));
}

void LaunchFixture::write_calendar(const std::vector<LeasedHost>& hosts) const {
  std::string text;
  for (const LeasedHost& lease : hosts) {
    text += fmt::format("[[lease]]\nid = \"of-{}\"\nhosts = [\"{}\"]\nslots = {}\n", lease.host,
                        lease.host, lease.slots);
    if (lease.begin_s) text += fmt::format("begin = \"{}\"\n", format_utc(*lease.begin_s));
    if (lease.end_s) text += fmt::format("end = \"{}\"\n", format_utc(*lease.end_s));
    if (lease.memory_per_slot_bytes > 0) {
      const double gib = static_cast<double>(lease.memory_per_slot_bytes) / (int64_t{1} << 30);
      text += fmt::format("memory_per_slot_gib = {}\n", gib);
    }
  }
  write_calendar_text(text);
}

void LaunchFixture::wrap_ranks(const std::string& script) {
  namespace fs = std::filesystem;
  const fs::path programs = directory_ / "programs";
  fs::create_directories(programs);
  tool_ = programs / "leasehold";  // it looks for leasehold-train next to itself
  fs::copy_file(program("leasehold"), tool_, fs::copy_options::overwrite_existing);
  const fs::path wrapper = programs / "leasehold-train";
  std::ofstream(wrapper) << "#!/bin/sh\nRANK=" << program("leasehold-train") << "\n" << script;
  fs::permissions(wrapper, fs::perms::owner_all);
}

Process& LaunchFixture::launch(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {tool_,
                                      "launch",
                                      job_,
                                      "--set",
                                      "run.dir=" + run_dir(run_),
                                      "--set",
                                      "launch.mpirun=" + launcher()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = mpi_environment();
  environment.insert(environment.end(), environment_.begin(), environment_.end());
  supervisors_.push_back(std::make_unique<Process>(command, directory_.path(), environment));
  return *supervisors_.back();
}

void LaunchFixture::kill_supervisor() {
  supervisor().signal(SIGKILL);
  supervisor().wait(10);
}

int64_t LaunchFixture::last_step() const {
  std::ifstream file(run_dir(run_) + "/metrics.jsonl", std::ios::binary | std::ios::ate);
  if (!file) return 0;
  const auto size = static_cast<int64_t>(file.tellg());
  file.seekg(std::max<int64_t>(0, size - 2000));
  const std::string tail(std::istreambuf_iterator<char>(file), {});
  const size_t end = tail.rfind('\n');  // the text after it is an incomplete line
  if (end == std::string::npos) return 0;
  const std::string key = "{\"step\": ";
  const size_t at = tail.rfind(key, end);
  return at == std::string::npos ? 0 : std::stoll(tail.substr(at + key.size()));
}

std::vector<RunEvent> LaunchFixture::run_events() const {
  std::vector<RunEvent> found;
  std::istringstream lines(events(run_));
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) continue;  // the last line may be half written
    RunEvent event{.generation = json.value("generation", int64_t{-1}),
                   .name = json.value("event", ""),
                   .reason = json.value("reason", ""),
                   .time = json.value("time", ""),
                   .details = {}};
    for (const auto& [key, value] : json.items()) {
      if (value.is_string()) event.details[key] = value.get<std::string>();
    }
    found.push_back(std::move(event));
  }
  return found;
}

std::vector<RunEvent> LaunchFixture::run_events(const std::string& name) const {
  std::vector<RunEvent> found = run_events();
  std::erase_if(found, [&](const RunEvent& event) { return event.name != name; });
  return found;
}

bool LaunchFixture::wait_until(const std::function<bool()>& condition, double timeout_s) {
  const Deadline deadline = Deadline::after_s(timeout_s);
  while (!condition()) {
    if (deadline.passed()) return false;
    system_clock().sleep_s(kPollS);
  }
  return true;
}

bool LaunchFixture::wait_step(int64_t step, double timeout_s) const {
  return wait_until([&] { return last_step() >= step; }, timeout_s);
}

bool LaunchFixture::wait_event(const std::string& name, size_t count, double timeout_s) const {
  return wait_until([&] { return run_events(name).size() >= count; }, timeout_s);
}

std::vector<pid_t> LaunchFixture::processes() const {
  std::vector<pid_t> found;
  for (const pid_t pid : all_processes()) {
    if (pid == ::getpid()) continue;
    const std::string command = slurp(fmt::format("/proc/{}/cmdline", pid));
    if (command.find(directory_.path()) != std::string::npos) found.push_back(pid);
  }
  return found;
}

std::vector<RankProcess> LaunchFixture::ranks() const {
  std::vector<RankProcess> found;
  for (const pid_t pid : processes()) {
    const std::string environment = slurp(fmt::format("/proc/{}/environ", pid));
    std::string number = variable(environment, "OMPI_COMM_WORLD_RANK");
    if (number.empty()) number = variable(environment, "PMI_RANK");
    const std::string node = variable(environment, "LEASEHOLD_NODE");
    const std::string generation = variable(environment, "LEASEHOLD_GENERATION");
    if (number.empty() || node.empty() || generation.empty()) continue;
    found.push_back({pid, std::stoi(number), node, std::stoll(generation)});
  }
  std::ranges::sort(found, {}, &RankProcess::rank);
  return found;
}

std::optional<RankProcess> LaunchFixture::rank(int number) const {
  for (const RankProcess& process : ranks()) {
    if (process.rank == number) return process;
  }
  return std::nullopt;
}

std::vector<std::string> LaunchFixture::memory_files(const std::string& node) const {
  std::vector<std::string> paths;
  const auto lineage = read_lineage(posix_files(), run_dir(run_));
  const auto names = posix_files().list(kSharedMemory);
  if (!names.ok() || !lineage.ok() || lineage->empty()) return paths;
  const std::string prefix = lineage_prefix(*lineage);
  for (const std::string& name : *names) {
    const bool of_node = node.empty() || name.find("@" + node + ".") != std::string::npos;
    if (name.starts_with(prefix) && of_node) paths.push_back(join_path(kSharedMemory, name));
  }
  return paths;
}

void LaunchFixture::kill_node(const std::string& node) const {
  const auto running = ranks();
  for (const RankProcess& process : running) {
    if (process.node == node) ::kill(process.pid, SIGKILL);
  }
  for (const std::string& path : memory_files(node)) ::unlink(path.c_str());
}

void LaunchFixture::kill_all() {
  kill_supervisor();
  for (const RankProcess& process : ranks()) ::kill(process.pid, SIGKILL);
  EXPECT_TRUE(wait_until([this] { return processes().empty(); })) << "mpirun and keeper stay";
}

void LaunchFixture::flip_bit(const std::string& path, int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const int byte = file.get();
  file.seekp(offset);
  file.put(static_cast<char>(byte ^ 4));
}

std::string LaunchFixture::newest_checkpoint() const {
  const std::string parent = run_dir(run_) + "/checkpoints";
  int64_t newest = -1;
  const auto names = posix_files().list(parent);
  if (!names.ok()) return "";
  for (const std::string& name : *names) {
    const auto step = parse_checkpoint_name(name);
    const bool whole = posix_files().exists(join_path(join_path(parent, name), "manifest.json"));
    if (step && whole) newest = std::max(newest, *step);
  }
  return newest < 0 ? "" : join_path(parent, checkpoint_name(newest));
}

const LaunchFixture::Undisturbed& LaunchFixture::undisturbed() const {
  static std::map<int64_t, Undisturbed> known;  // by number of steps; everything else is the same
  auto [found, is_new] = known.try_emplace(steps_);
  if (is_new) {
    const double per_step_s = 0.2;
    const Finished finished = train(2, "undisturbed", {"--set", "checkpoint.snapshot=off"},
                                    60 + per_step_s * static_cast<double>(steps_));
    EXPECT_EQ(finished.exit_code, 0) << finished.errors;
    found->second = {metrics("undisturbed"), state_digest("undisturbed")};
    EXPECT_EQ(std::ssize(found->second.metrics), steps_);
  }
  return found->second;
}

void LaunchFixture::expect_like_undisturbed(double timeout_s) {
  const Finished finished = supervisor().wait(timeout_s);
  EXPECT_FALSE(finished.timed_out);
  ASSERT_EQ(finished.exit_code, 0) << finished.errors << finished.output << events(run_);
  // A keeper may still be returning when its outcome is read.
  EXPECT_TRUE(wait_until([this] { return processes().empty(); })) << "ranks or keepers are left";
  EXPECT_TRUE(memory_files().empty()) << memory_files().front();
  EXPECT_EQ(metrics(run_), undisturbed().metrics) << events(run_);
  EXPECT_EQ(state_digest(run_), undisturbed().digest);
}

}  // namespace leasehold
