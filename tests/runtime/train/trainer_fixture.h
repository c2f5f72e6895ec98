// Whole runs of a small job over ranks as threads, generation after generation in one run.dir.
#pragma once

#include <gtest/gtest.h>
#include <mutex>
#include <sstream>

#include "collectives/threads.h"
#include "runtime/checkpoint/state_digest.h"
#include "runtime/train/trainer.h"
#include "tests/support/faulty_files.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {

inline constexpr int64_t kSteps = 12;

struct RunSettings {
  int ranks = 1;
  int zero_stage = 1;
  std::optional<int64_t> stop_after;
  int64_t checkpoint_every = 0;
  bool checkpoint_auto = false;
  int64_t validate_every = 4;
  bool fork = false;
  SnapshotMode snapshot = SnapshotMode::kOff;
  std::vector<std::string> nodes;  // by rank; empty: one
  std::optional<SlotDirectory> memory;
  double lr = 3e-3;
  DType precision = DType::kF32;
  DeviceKind device_kind = DeviceKind::kCpu;
  int64_t steps = kSteps;
  int64_t microbatches = 8;  // and as many lanes
  bool report = false;       // run.identity
  int64_t keep_every = 0;
  double timeout_s = 60;
  double stall_s = 60;
  Clock* clock = nullptr;    // null: the machine's, without pauses
  bool repeats_bits = true;  // replays
  bool skip_nonfinite = false;
  int64_t max_skipped = 100;
  bool drain_at_start = false;  // asked of rank 0 before it runs
  // Called on rank 0 after each step.
  std::function<void(const StepMetrics&, Engine&)> touch = [](const StepMetrics&, Engine&) {};
  // Called on rank 0 with each step's metrics.
  std::function<void(const StepMetrics&, DrainRequest&)> on_step = [](const StepMetrics&,
                                                                      DrainRequest&) {};
};

// The machine's clocks, but for pauses: a save that fails before the ranks leave is tried again at
// once.
class SleeplessClock : public Clock {
 public:
  double steady_s() override { return system_clock().steady_s(); }
  double unix_s() override { return system_clock().unix_s(); }
  void sleep_s(double /*seconds*/) override {}
};

class TrainerTest : public testing::Test {
 protected:
  TrainerTest() : train_(directory_ / "train.bin"), validation_(directory_ / "validation.bin") {
    write_random_tokens(train_, 4000, 61, 5);
    write_random_tokens(validation_, 700, 61, 6);
  }

  std::string run_dir(const std::string& name) { return directory_ / name; }
  // Stands for /dev/shm.
  std::string memory() {
    throw_if_error(posix_files().make_directories(directory_ / "memory"));
    return directory_ / "memory";
  }

  // One generation. The status of rank 0; all ranks must agree on its code.
  Status generation(const std::string& name, const RunSettings& settings,
                    FileSystem& files = posix_files()) {
    Status result = error(Code::kInternal, "no rank came to an end");
    std::mutex mutex;
    std::vector<Code> codes;
    run_ranks(settings.ranks, {.timeout_s = settings.timeout_s}, [&](Communicator& world) {
      const Status status = one_rank(name, settings, files, world);
      std::lock_guard lock(mutex);
      codes.push_back(status.code());
      if (codes.size() == 1 || world.rank() == 0) result = status;
    });
    for (const Code code : codes) EXPECT_EQ(code, result.code());
    return result;
  }

  Status one_rank(const std::string& name, const RunSettings& settings, FileSystem& files,
                  Communicator& world) {
    SmallJob job;
    job.options.steps = settings.steps;
    job.options.batch = {.num_microbatches = settings.microbatches,
                         .num_lanes = settings.microbatches};
    job.options.zero_stage = settings.zero_stage;
    job.options.optimizer.lr = settings.lr;
    job.precision = settings.precision;
    job.device_kind = settings.device_kind;
    SmallRank rank(job, train_, world);
    const WindowLoader validation =
        WindowLoader::create(TokenFile::open(posix_files(), validation_).value(), 12, 61, 0)
            .value();
    TrainerOptions options;
    options.run_dir = run_dir(name);
    options.steps = settings.steps;
    options.stop_after = settings.stop_after;
    options.validate_every_steps = settings.validate_every;
    options.checkpoint_every_steps = settings.checkpoint_every;
    options.checkpoint_interval_auto = settings.checkpoint_auto;
    options.fork = settings.fork;
    options.report_arithmetic = settings.report;
    options.keep_every_steps = settings.keep_every;
    options.timeout_s = settings.timeout_s;
    options.stall_s = settings.stall_s;
    options.replays_repeat_bits = settings.repeats_bits;
    options.skip_nonfinite = settings.skip_nonfinite;
    options.max_skipped_steps = settings.max_skipped;
    options.node = "here";
    options.snapshot = settings.snapshot;
    for (const std::string& node : settings.nodes) options.ranks.push_back({.node = node});
    options.memory = settings.memory ? *settings.memory : SlotDirectory{memory()};
    options.job.seed = job.options.seed;
    options.job.identity = {{"optimizer.lr", fmt::format("{}", settings.lr)}};
    options.job.model = to_map(job.model);
    DrainRequest drain;
    if (settings.drain_at_start && world.rank() == 0) drain.request(10);
    RunProgress progress;
    RunObserver observer;
    observer.on_step = [&](const StepMetrics& metrics) {
      settings.on_step(metrics, drain);
      settings.touch(metrics, rank.engine());
    };
    const auto digest = [&] { return digests(rank, settings); };
    Trainer trainer(rank.engine(), world, rank.stream(), files,
                    settings.clock != nullptr ? *settings.clock : clock_,
                    {rank.kernels(), digest().value(), digest}, rank.loader(), &validation, drain,
                    progress, options, observer);
    return trainer.run();
  }

  // On CPUs a word that stands for them: another precision computes other bits.
  static Result<std::vector<OperationDigest>> digests(SmallRank& rank,
                                                      const RunSettings& settings) {
    if (settings.device_kind == DeviceKind::kCpu) {
      const uint64_t digest = settings.precision == DType::kF32 ? 1 : 2;
      return std::vector<OperationDigest>{{"linear_forward", digest}};
    }
    // Of half the rows that a step has, so that steps meet other products.
    const ArithmeticProbe probe{
        .hidden = 32, .ffn = 128, .heads = 4, .kv_heads = 4, .vocab = 61, .T = 12, .B = 1};
    return digest_arithmetic(rank.device(), rank.kernels(), probe, 60);
  }

  // loss, grad_norm, lr and validation_loss of every line, as written.
  std::vector<std::string> metrics(const std::string& name, FileSystem& files = posix_files()) {
    std::istringstream lines(read_file(files, run_dir(name) + "/metrics.jsonl").value());
    std::vector<std::string> values;
    for (std::string line; std::getline(lines, line);) {
      const size_t time = line.find("\"step_time_s\"");
      const size_t validation = line.find("\"validation_loss\"");
      values.push_back(line.substr(0, time) +
                       (validation == std::string::npos ? "" : line.substr(validation)));
    }
    return values;
  }

  std::string events(const std::string& name, FileSystem& files = posix_files()) {
    return read_file(files, run_dir(name) + "/events.jsonl").value();
  }

  std::string state(const std::string& name, int64_t step = kSteps) {
    const auto handle =
        open_checkpoint(posix_files(), run_dir(name) + "/checkpoints/" + checkpoint_name(step))
            .value();
    return state_digest(posix_files(), handle).value().to_hex();
  }

  void corrupt(const std::string& path, size_t at) {
    std::string content = read_file(posix_files(), path).value();
    content.at(at) = static_cast<char>(content[at] ^ 1);
    throw_if_error(publish_file(posix_files(), path, content, "corrupt"));
  }

  SleeplessClock clock_;
  TemporaryDirectory directory_;
  std::string train_;
  std::string validation_;
};

}  // namespace leasehold
