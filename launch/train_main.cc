// Runs `leasehold-train`, the program that mpirun starts on the nodes.
//   leasehold-train JOB.toml [...]      trains (the default)
//   leasehold-train evaluate ...        mean loss of a checkpoint over a file
//   leasehold-train sample ...          text from a checkpoint
#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "collectives/bootstrap.h"
#include "collectives/mpi_library.h"
#include "launch/drain_signals.h"
#include "launch/evaluate_command.h"
#include "launch/launchers/last_words.h"
#include "launch/number_options.h"
#include "launch/sample_command.h"
#include "launch/stop_signals.h"
#include "launch/supervisor/forecast_words.h"
#include "launch/train_command.h"
#include "launch/version.h"
#include "runtime/base/broken_host.h"
#include "runtime/base/rank_list.h"
#include "runtime/base/resource_exhausted.h"
#include "runtime/device/cuda.h"
#include "runtime/tensor/blas/blas.h"

namespace leasehold {

namespace {

constexpr std::chrono::seconds kGiveUpLimit{2};

int usage_exit(const CLI::App& app, const CLI::ParseError& problem) {
  return app.exit(problem) == 0 ? 0 : static_cast<int>(Code::kUsage);
}

// Writes to stderr. Ignores failures, since nobody may read it any more.
void say(const std::string& text) { (void)std::fputs(text.c_str(), stderr); }

int report(const Status& status) {
  if (!status.ok()) say(fmt::format("leasehold-train: {}\n", status.message()));
  return status.exit_code();
}

// Ends a rank. If all ranks reached the same end they meet first: mpirun ends the others as soon as
// one fails, and must not kill one that still writes. A rank that lost a peer, or that fails alone,
// leaves at once.
[[noreturn]] void leave(ProcessGroup& processes, const Status& status) {
  const int rank = processes.world().rank();
  const bool alone = status.code() == Code::kUnavailable || status.code() == Code::kInternal ||
                     status.code() == kBrokenHost || status.code() == kResourceExhausted;
  if (!status.ok() && (alone || rank == 0)) {
    // A rank that lost a peer is not to blame, and names nobody; one that cannot read its data in
    // time is named by all.
    std::vector<int> ranks = ranks_named(status.message());
    if (ranks.empty() && alone && status.code() != Code::kUnavailable) ranks = {rank};
    // The launcher may lose the exit code, so the supervisor reads this line. It is written in one
    // piece, since other ranks write too.
    say(fmt::format("leasehold-train: {}\n{}\n", status.message(),
                    last_words(status.exit_code(), ranks)));
  }
  if (!alone) {
    const Status finished = processes.finish();
    if (finished.ok()) {
      std::fflush(nullptr);
      ::_exit(status.exit_code());
    }
    say(fmt::format("leasehold-train: while leaving: {}\n", finished.message()));
  }
  std::fflush(nullptr);
  std::thread([code = status.exit_code()] {
    std::this_thread::sleep_for(kGiveUpLimit);
    ::_exit(code);
  }).detach();
  processes.give_up(status.exit_code());
  ::_exit(status.exit_code());
}

// Ends a rank whose call of MPI hangs. Nothing that would end the rank in order can be called then.
void end_overdue(const Status& status) {
  report(status);
  std::fflush(nullptr);
  ::_exit(status.exit_code());
}

void add_device_options(CLI::App& app, std::string& device, int& num_threads) {
  app.add_option("--device", device, "Device to compute on; cuda is the first GPU")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  add_number(app, "--threads", num_threads, kThreadsRange, "Number of threads of --device cpu");
}

int run_evaluate_main(int argc, char** argv) {
  EvaluateCommand command;
  CLI::App app(
      "Prints the mean loss of a checkpoint over the windows of a token file, as one JSON object.",
      "leasehold-train evaluate");
  app.add_option("CHECKPOINT", command.checkpoint, "A checkpoint's directory, or a run's")
      ->required();
  app.add_option("--data", command.data, "Token file")->required();
  add_device_options(app, command.device, command.num_threads);
  add_number(app, "--batch", command.batch, NumberRange<int64_t>{1, 1 << 16},
             "Windows per forward pass");
  add_number(app, "--sequence", command.sequence, NumberRange<int64_t>{1, int64_t{1} << 24},
             "Tokens per window (default: the model's, or all of a shorter file)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return usage_exit(app, problem);
  }
  return report(run_evaluate(command));
}

int run_sample_main(int argc, char** argv) {
  SampleCommand command;
  CLI::App app("Continues a text with a checkpoint's model.", "leasehold-train sample");
  app.add_option("CHECKPOINT", command.checkpoint, "A checkpoint's directory, or a run's")
      ->required();
  auto* prompt = app.add_option_group("prompt")->require_option(1);
  prompt->add_option("--prompt", command.prompt, "Text to continue");
  prompt->add_option("--prompt-file", command.prompt_file,
                     "File with the text to continue; - is standard input");
  add_number(app, "--tokens", command.generation.tokens, NumberRange<int64_t>{1, 1 << 30},
             "Maximum number of tokens to generate");
  app.add_option("--begin-token", command.begin_token,
                 "Token before the prompt: a token's text, own (the tokenizer's) or none")
      ->capture_default_str();
  app.add_flag("--ignore-end", command.generation.ignore_end,
               "Continue after a token that ends a text");
  add_number(app, "--temperature", command.generation.choice.temperature,
             NumberRange<double>{0, 1000},
             "Temperature of the draw; 0 always takes the likeliest token");
  add_number(app, "--top-k", command.generation.choice.top_k, kAnyCount,
             "Number of likeliest tokens to draw from; 0 is all");
  add_number(app, "--top-p", command.generation.choice.top_p, NumberRange<double>{0, 1},
             "Draw from the fewest likeliest tokens that have this probability together; 1 is all");
  add_number(app, "--seed", command.generation.seed, kAnyCount, "Seed of the draws");
  add_device_options(app, command.device, command.num_threads);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return usage_exit(app, problem);
  }
  return report(run_sample(command));
}

int run_train_main(int argc, char** argv) {
  static DrainRequest drain;  // signals reach it until the process ends
  drain_on_signals(drain);
  TrainCommand command{.version = version()};
  CLI::App app(
      "Trains the job that JOB.toml describes, from the newest checkpoint in its run.dir or from "
      "the beginning. Other commands: leasehold-train evaluate, leasehold-train sample.",
      "leasehold-train");
  app.set_version_flag("--version", [] {
    const auto offered = blas::offered_kernel_sets();
    return fmt::format("leasehold-train {}\n{}\nkernel sets: {}\nMPI: {}", version(), build_lines(),
                       offered.ok() ? fmt::format("{}", fmt::join(offered->sets, ", "))
                                    : offered.status().message(),
                       mpi_library());
  });
  app.add_option("JOB", command.job_path, "Job file (TOML)")->required();
  app.add_option("--set", command.overrides,
                 "Override a key of the job file: table.key=value; may be repeated")
      ->allow_extra_args(false);
  auto* stop_after =
      add_number(app, "--stop-after", command.stop_after, NumberRange<int64_t>{0, int64_t{1} << 32},
                 "Save and stop after this step, as after a signal");
  auto* dry_run = app.add_flag("--dry-run", command.dry_run,
                               "Print the layout and the memory of a rank, and exit");
  auto* world =
      add_number(app, "--world", command.world, NumberRange<int64_t>{1, kMostForecastRanks},
                 "With --dry-run: forecast for this many ranks, which need not exist");
  auto* fork =
      app.add_flag("--fork", command.fork, "Continue with other identity keys, as a new lineage");
  std::vector<std::string> forecasts;
  app.add_option("--forecast", forecasts,
                 "WORLD:PIPELINE:CHUNKS:ZERO: print the bytes that a rank needs, as JSON, and "
                 "exit; may be repeated")
      ->allow_extra_args(false)
      ->excludes(dry_run)
      ->excludes(stop_after)
      ->excludes(world)
      ->excludes(fork);
  app.footer("docs/exit_codes.md lists the exit codes, docs/job_file.md the keys of a job file.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return usage_exit(app, problem);
  }
  for (const std::string& text : forecasts) {
    const auto asked = parse_forecast_argument(text);
    if (!asked.ok()) return report(asked.status());
    command.forecasts.push_back(*asked);
  }
  if (!command.dry_run && command.forecasts.empty()) survive_failed_writes();
  auto processes =
      ProcessGroup::create({.timeout_s = operation_timeout_s(command),
                            .may_be_alone = command.dry_run || !command.forecasts.empty(),
                            .overdue = end_overdue});
  if (!processes.ok()) return report(processes.status());
  Status status;
  try {
    status = run_train(command, **processes, drain);
  } catch (const StatusError& caught) {
    status = caught.status();
  } catch (const std::exception& caught) {
    status = error(Code::kInternal, "{}", caught.what());
  }
  leave(**processes, status);
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) {
  // Before MPI starts threads that read the environment, or a driver that does.
  leasehold::set_cuda_environment();
  leasehold::blas::reserve_environment();
  try {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "evaluate") return leasehold::run_evaluate_main(argc - 1, argv + 1);
    if (command == "sample") return leasehold::run_sample_main(argc - 1, argv + 1);
    return leasehold::run_train_main(argc, argv);
  } catch (const leasehold::StatusError& caught) {
    fmt::print(stderr, "leasehold-train: {}\n", caught.what());
    return caught.status().exit_code();
  } catch (const std::exception& caught) {
    fmt::print(stderr, "leasehold-train: {}\n", caught.what());
    return static_cast<int>(leasehold::Code::kInternal);
  }
}
