// Runs `leasehold`, the light tool for a head node or a laptop. It needs neither MPI nor CUDA.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string_view>
#include <thread>

#include <CLI/CLI.hpp>

#include "launch/commands_launch.h"
#include "launch/commands_model.h"
#include "launch/commands_prepare.h"
#include "launch/inspect.h"
#include "launch/job_schema.h"
#include "launch/launchers/node_command.h"
#include "launch/number_options.h"
#include "launch/plan/commands_plan.h"
#include "launch/version.h"

namespace leasehold {

namespace {

using Command = std::function<Status()>;

void add_prepare(CLI::App& app, PrepareCommand& prepare, Command& chosen, const Logger& logger) {
  CLI::App* command =
      app.add_subcommand("prepare",
                         "Turn text, JSON lines or token files into OUTPUT/train.bin, "
                         "validation.bin and tokenizer.json; docs/data.md describes the formats");
  const auto names = tokenizer_names();
  command
      ->add_option(
          "--tokenizer", prepare.tokenizer,
          fmt::format("Tokenizer: {}; or the path of a tokenizer.json, of a SentencePiece *.model, "
                      "or of a directory with one of these or with vocab.json and merges.txt",
                      fmt::join(names, ", ")))
      ->required();
  command
      ->add_option("--output", prepare.options.output_dir,
                   "Output directory, created if it is missing")
      ->required();
  add_number(*command, "--validation-fraction", prepare.options.validation_fraction,
             NumberRange<double>{0, 1, true},
             "Fraction at the end of each file that is kept for validation");
  command
      ->add_option(
          "--format", prepare.format,
          "Input format: text (UTF-8) or jsonl (one object per line), also compressed by gzip, "
          "Zstandard, bzip2 or xz; parquet; bytes; llmc or megatron (.idx and .bin); uint16 or "
          "uint32 (only tokens); auto detects it by suffix and first bytes")
      ->capture_default_str();
  command
      ->add_option("--field", prepare.options.field,
                   "Field that holds the document in a line of jsonl or a row of parquet: a name, "
                   "or names joined by dots")
      ->capture_default_str();
  command
      ->add_option("--end-token", prepare.end_token,
                   "Token after each document: a token's text, own (the tokenizer's) or none")
      ->capture_default_str();
  command
      ->add_option("--begin-token", prepare.begin_token,
                   "Token before each document: a token's text, own (the tokenizer's) or none")
      ->capture_default_str();
  prepare.options.num_threads = static_cast<int>(
      std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, kThreadsRange.high));
  add_number(*command, "--skip-bad-lines", prepare.options.most_bad_lines, kAnyCount,
             "Maximum number of bad JSON lines, or rows, to leave out");
  add_number(*command, "--threads", prepare.options.num_threads, kThreadsRange,
             "Number of encoding threads");
  command->add_option("FILE", prepare.options.inputs, "Input files; - is standard input")
      ->required();
  command->callback([&] { chosen = [&] { return run_prepare(prepare, logger); }; });
}

void add_import(CLI::App& app, ImportOptions& options, Command& chosen, const Logger& logger) {
  CLI::App* command = app.add_subcommand(
      "import",
      "Turn a Hugging Face folder (gpt2 or llama) or an llm.c model file into a checkpoint");
  command->add_option("--output", options.output, "Directory of the new checkpoint")->required();
  command->add_option(
      "--tokenizer", options.tokenizer,
      "Tokenizer instead of the folder's own, as for prepare; none imports only the weights");
  command->add_option("DIR", options.input, "Hugging Face folder, or llm.c model file")->required();
  command->callback([&] { chosen = [&] { return run_import(options, logger); }; });
}

void add_export(CLI::App& app, ExportOptions& options, Command& chosen, const Logger& logger) {
  CLI::App* command =
      app.add_subcommand("export", "Write a checkpoint's weights as a Hugging Face folder");
  command->add_option("--dtype", options.dtype, "Type of the weights: fp32, or bf16 (rounded)")
      ->capture_default_str();
  add_number(*command, "--shard-size", options.shard_bytes,
             NumberRange<int64_t>{1, int64_t{1} << 60},
             "Maximum bytes of tensors in a file; larger models are split into several");
  command->add_option("CHECKPOINT", options.checkpoint, "A checkpoint's directory, or a run.dir")
      ->required();
  command->add_option("DIR", options.output, "New Hugging Face folder")->required();
  command->callback([&] { chosen = [&] { return run_export(options, logger); }; });
}

struct InspectCommand {
  std::string path;
  InspectOptions options;
};

void add_inspect(CLI::App& app, InspectCommand& inspection, Command& chosen) {
  CLI::App* command = app.add_subcommand(
      "inspect",
      "Verify every digest of a checkpoint, or of a run's newest checkpoint, and describe it");
  command->add_flag("--json", inspection.options.json, "Print JSON instead of text");
  command->add_flag("--all", inspection.options.all,
                    "Inspect every checkpoint of a run, newest first");
  command->add_option("PATH", inspection.path, "A checkpoint's directory, or a run.dir")
      ->required();
  command->callback([&] {
    chosen = [&] {
      const Inspection found = inspect(posix_files(), inspection.path, inspection.options);
      std::fputs(found.output.c_str(), stdout);
      return found.status;
    };
  });
}

void add_launch(CLI::App& app, LaunchCommand& launch, Command& chosen, const Logger& logger) {
  CLI::App* command = app.add_subcommand(
      "launch",
      "Supervise a job on the hosts of its lease calendar until it is done; Ctrl-C saves and stops "
      "the job, a second Ctrl-C ends the supervisor and leaves the ranks running");
  command->add_option("JOB", launch.job_path, "Job file (TOML)")->required();
  command
      ->add_option("--set", launch.overrides,
                   "Override a key of the job file: table.key=value; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--address", launch.address,
                      "Numeric address at which nodes reach this machine (default: detected)");
  command->callback([&] { chosen = [&] { return run_launch(launch, logger); }; });
}

void add_plan(CLI::App& app, PlanCommand& plan, Command& chosen, const Logger& logger) {
  constexpr NumberRange<int64_t> kRanks{1, 1 << 20};
  constexpr NumberRange<int64_t> kTokens{1, int64_t{1} << 60};
  constexpr NumberRange<double> kDollars{0.01, 1e15};
  CLI::App* command = app.add_subcommand(
      "plan",
      "Tell how long a job's step takes on given hardware, and in which layout, before anything is "
      "rented; docs/planning.md says how far it is from measured steps");
  command->add_option("JOB", plan.job_path, "Job file (TOML)");
  command
      ->add_option("--set", plan.overrides,
                   "table.key=value: overrides the job file; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--hardware", plan.hardware,
                      "A part's name, or a file with its figures (TOML); CPU for jobs on CPUs");
  add_number(*command, "--world", plan.world, kRanks,
             "How many ranks; else the most that the calendar has at once");
  add_number(*command, "--tokens", plan.tokens, kTokens,
             "How many to train; else those of run.steps");
  command->add_option("--until", plan.until,
                      "With a calendar: tell the tokens by this time, \"2027-03-01T00:00:00Z\" or "
                      "\"+30d\" from now");
  add_number(*command, "--budget", plan.budget, kDollars,
             "With a calendar: USD that leases may cost, used or not; tells the tokens by then");
  command->add_flag("--json", plan.json, "One JSON object instead of text");
  command->add_option("--rows", plan.rows,
                      "Instead of a job: a table of published steps; prints id, seconds, and the "
                      "low and high end of the 80% band, separated by tabs");
  command->add_option("--calibrate", plan.calibrate,
                      "With --rows: measured rows of the same parts");
  command->callback([&] { chosen = [&] { return run_plan(plan, logger); }; });
}

// The arguments of the commands about one run.
struct RunCommand {
  std::string run_dir;
  bool json = false;
};

void add_run_commands(CLI::App& app, RunCommand& run, Command& chosen, const Logger& logger) {
  const auto add = [&](const char* name, const char* meaning, const Command& command) {
    CLI::App* added = app.add_subcommand(name, meaning);
    added->add_option("RUN_DIR", run.run_dir, "The job's run.dir")->required();
    added->callback([&chosen, command] { chosen = command; });
    return added;
  };
  add("status", "Show the state and the history of a launched job", [&] {
    return run_status(run.run_dir, run.json);
  })->add_flag("--json", run.json, "Print JSON instead of text");
  add("drain", "Save and stop a launched job", [&] { return run_drain(run.run_dir); });
  add("clean", "Remove a run's files from this machine's shared memory",
      [&] { return run_clean(run.run_dir, logger); });
}

void add_job_keys(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("job-keys", "Print every key of a job file as a Markdown table");
  command->callback([&] {
    chosen = [] {
      std::fputs(job_keys_markdown().c_str(), stdout);
      return ok_status();
    };
  });
}

int finish(const Status& status) {
  if (!status.ok()) fmt::print(stderr, "leasehold: {}\n", status.message());
  return status.exit_code();
}

// Runs `leasehold keeper DIRECTORY -- COMMAND...`, which only `launch` starts. Its command may hold
// anything, which CLI11 would parse as its own options.
int run_keeper_main(int argc, char** argv) {
  if (argc < 5 || std::string_view(argv[3]) != "--") {
    fmt::print(stderr, "leasehold: keeper is started only by `leasehold launch`\n");
    return static_cast<int>(Code::kUsage);
  }
  return finish(run_keeper_command({argv[2], {argv + 4, argv + argc}}));
}

// Runs `leasehold node NODE:RANKS,... -- COMMAND...`, which a launcher starts as a rank for
// `launch`.
int run_node_main(int argc, char** argv) {
  if (argc < 5 || std::string_view(argv[3]) != "--") {
    fmt::print(stderr, "leasehold: node is started only by `leasehold launch`\n");
    return static_cast<int>(Code::kUsage);
  }
  return finish(run_node_command(argv[2], {argv + 4, argv + argc}));
}

int run(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "keeper") return run_keeper_main(argc, argv);
  if (argc > 1 && std::string_view(argv[1]) == "node") return run_node_main(argc, argv);
  const Logger logger = Logger::to_stderr("leasehold");
  CLI::App app(
      "Leasehold trains transformers on leased GPUs. This tool prepares data, launches jobs and "
      "inspects checkpoints.",
      "leasehold");
  app.set_version_flag("--version", fmt::format("leasehold {}\n{}", version(), build_lines()));
  app.set_help_all_flag("--help-all", "Print the help of every command and exit");
  Command chosen;
  PrepareCommand prepare;
  add_prepare(app, prepare, chosen, logger);
  ImportOptions import_options;
  add_import(app, import_options, chosen, logger);
  ExportOptions export_options;
  add_export(app, export_options, chosen, logger);
  InspectCommand inspection;
  add_inspect(app, inspection, chosen);
  LaunchCommand launch;
  add_launch(app, launch, chosen, logger);
  PlanCommand plan;
  add_plan(app, plan, chosen, logger);
  RunCommand run_command;
  add_run_commands(app, run_command, chosen, logger);
  add_job_keys(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : static_cast<int>(Code::kUsage);
  }
  if (!chosen) {
    fmt::print(stderr, "leasehold: missing command\n\n{}", app.help());
    return static_cast<int>(Code::kUsage);
  }
  return finish(chosen());
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) {
  try {
    return leasehold::run(argc, argv);
  } catch (const leasehold::StatusError& problem) {
    fmt::print(stderr, "leasehold: {}\n", problem.what());
    return problem.status().exit_code();
  } catch (const std::exception& problem) {
    fmt::print(stderr, "leasehold: {}\n", problem.what());
    return static_cast<int>(leasehold::Code::kInternal);
  }
}
