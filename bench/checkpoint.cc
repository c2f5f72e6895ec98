// What keeping the state safe costs: steps of GPT-2 124M (or other sizes) without snapshots, with a
// snapshot and a partner's copy after every step, and while a checkpoint is written in the
// background, in turns in one run; beside the disk's own speed. Under mpirun, with LEASEHOLD_NODE
// set differently for half of the ranks. bench/README.md says the formulas.
#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/median.h"
#include "bench/model_bench.h"
#include "collectives/bootstrap.h"
#include "models/gpt.h"
#include "runtime/base/clock.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/device/cpu_device.h"
#include "runtime/train/engine.h"
#include "runtime/train/state_keeper.h"

namespace leasehold {

namespace {

struct Settings {
  ModelConfig model{.layers = 12, .hidden = 768, .heads = 12, .sequence = 512, .vocab = 50257};
  int64_t batch = 8;
  int64_t microbatch = 1;
  int threads = 1;
  int64_t rounds = 3;
  std::string directory = ".";
  std::string json_path;
};

// Bytes/s of writing as much to one file in large blocks, with its fsync.
double measure_disk(const std::string& path, int64_t size_bytes) {
  const std::string block(4 << 20, 'x');
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) throw StatusError(error(Code::kStorage, "{} cannot be written", path));
  const double begin_s = system_clock().steady_s();
  bool good = true;
  for (int64_t written = 0; written < size_bytes && good; written += std::ssize(block)) {
    good = ::write(file, block.data(), block.size()) == std::ssize(block);
  }
  good = good && ::fsync(file) == 0;
  const double seconds = system_clock().steady_s() - begin_s;
  ::close(file);
  ::unlink(path.c_str());
  if (!good) throw StatusError(error(Code::kStorage, "{} could not be written", path));
  return static_cast<double>(size_bytes) / seconds;
}

struct Figures {
  std::vector<double> off_s, snapshot_s, saving_s;  // step times
  std::vector<double> commit_s;                     // a snapshot with nothing beside it
  std::vector<double> save_s, disk_bytes_per_s;
  int64_t state_bytes = 0;  // of all ranks
};

class Bench {
 public:
  Bench(const Settings& settings, ProcessGroup& processes)
      : settings_(settings),
        world_(processes.world()),
        nodes_(processes.nodes()),
        device_(CpuDevice::create({.num_threads = settings.threads})),
        kernels_(create_cpu_kernels(*device_)) {}

  Result<Figures> run() {
    LEASEHOLD_RETURN_IF_ERROR(prepare());
    LEASEHOLD_RETURN_IF_ERROR(step(false, nullptr));  // not counted
    LEASEHOLD_RETURN_IF_ERROR(step(true, nullptr));
    Figures figures;
    figures.state_bytes = 12 * num_parameters(settings_.model);
    for (int64_t round = 0; round < settings_.rounds; ++round) {
      LEASEHOLD_RETURN_IF_ERROR(step(false, &figures.off_s));
      LEASEHOLD_RETURN_IF_ERROR(snapshot());
      LEASEHOLD_RETURN_IF_ERROR(step(true, &figures.snapshot_s));
      figures.commit_s.push_back(snapshot_s_);
      LEASEHOLD_RETURN_IF_ERROR(save(figures));
      if (world_.rank() == 0) {
        figures.disk_bytes_per_s.push_back(
            measure_disk(join_path(directory_, "disk"), figures.state_bytes));
      }
      LEASEHOLD_RETURN_IF_ERROR(meet());
    }
    tier_.reset();
    saver_.reset();
    return figures;
  }

  void clean() {
    remove_memory();
    if (world_.rank() == 0) (void)posix_files().remove_all(directory_);
  }

 private:
  Deadline deadline() const { return Deadline::after_s(600); }
  Status meet() { return barrier(world_, *stream_, deadline()); }

  Status prepare() {
    LEASEHOLD_ASSIGN_OR_RETURN(stream_, device_->create_stream("bench"));
    std::string own =
        world_.rank() == 0
            ? fmt::format("{}/leasehold-checkpoint-bench-{}",
                          std::filesystem::absolute(settings_.directory).string(), ::getpid())
            : "";
    LEASEHOLD_ASSIGN_OR_RETURN(directory_, broadcast_bytes(world_, *stream_, own, 0, deadline()));
    LEASEHOLD_RETURN_IF_ERROR(posix_files().make_directories(directory_));
    LEASEHOLD_ASSIGN_OR_RETURN(Mesh mesh, Mesh::create(world_, {.data = world_.size()}));
    mesh_ = std::make_unique<Mesh>(std::move(mesh));
    source_ = gpt_source(settings_.model);
    EngineOptions options;
    options.B = settings_.microbatch;
    options.T = settings_.model.sequence;
    options.batch.num_microbatches = settings_.batch / settings_.microbatch;
    options.batch.num_lanes = options.batch.num_microbatches;
    options.steps = 1000;
    options.seed = 1;
    options.optimizer = {
        .lr = 1e-4, .min_lr = 1e-5, .warmup_steps = 10, .weight_decay = 0.1, .grad_clip = 1};
    options.zero_stage = 1;
    LEASEHOLD_ASSIGN_OR_RETURN(engine_,
                               Engine::create(*device_, *kernels_, *mesh_, source_, options));
    LEASEHOLD_RETURN_IF_ERROR(engine_->initialize());
    loader_ = std::make_unique<WindowLoader>(make_random_loader(
        fmt::format("{}/tokens-{}", directory_, world_.rank()), settings_.model, settings_.batch));
    LEASEHOLD_ASSIGN_OR_RETURN(info_.lineage,
                               broadcast_bytes(world_, *stream_, new_lineage(), 0, deadline()));
    info_.generation = 1;
    std::vector<FailureDomain> domains;
    for (const std::string& node : nodes_) domains.push_back({.node = node});
    LEASEHOLD_ASSIGN_OR_RETURN(tier_, MemoryTier::create({.lineage = info_.lineage,
                                                          .nodes = nodes_,
                                                          .generation = 1,
                                                          .must_fit = true,
                                                          .partners = choose_partners(domains)},
                                                         engine_->owned_slices(), info_, world_));
    LEASEHOLD_ASSIGN_OR_RETURN(saver_,
                               BackgroundSaver::create(work_, directory_, world_,
                                                       [](FileSystem&) { return ok_status(); }));
    LEASEHOLD_RETURN_IF_ERROR(meet());
    remove_memory();  // the maps keep it, and nothing large stays behind when the ranks are killed
    return meet();
  }

  void remove_memory() {
    const auto all = [](const std::string&, const SlotName&) { return true; };
    (void)remove_slots(kSharedMemory, lineage_prefix(info_.lineage), all);
  }

  // A step, beside which the snapshot of the one before is taken if it is wanted.
  Status step(bool with_snapshot, std::vector<double>* seconds) {
    LEASEHOLD_RETURN_IF_ERROR(meet());
    const double begin_s = system_clock().steady_s();
    if (with_snapshot) tier_->begin(info_, tier_->whole_step());
    StepRequest request;
    if (with_snapshot) request.before_update = [this] { return tier_->wait_captured(deadline()); };
    LEASEHOLD_RETURN_IF_ERROR(engine_->run_step(info_.step, *loader_, request).status());
    LEASEHOLD_RETURN_IF_ERROR(meet());
    if (seconds != nullptr) seconds->push_back(system_clock().steady_s() - begin_s);
    if (with_snapshot) LEASEHOLD_RETURN_IF_ERROR(end_snapshot());
    ++info_.step;
    return ok_status();
  }

  Status end_snapshot() {
    LEASEHOLD_RETURN_IF_ERROR(tier_->wait_ended(600));
    LEASEHOLD_RETURN_IF_ERROR(tier_->take_failure());
    return meet();
  }

  // One with nothing beside it: how long it takes until it is whole everywhere.
  Status snapshot() {
    LEASEHOLD_RETURN_IF_ERROR(meet());
    const double begin_s = system_clock().steady_s();
    tier_->begin(info_, tier_->whole_step());
    LEASEHOLD_RETURN_IF_ERROR(end_snapshot());
    snapshot_s_ = system_clock().steady_s() - begin_s;
    ++info_.step;
    return ok_status();
  }

  // A step, beside which the newest snapshot is written to files.
  Status save(Figures& figures) {
    CheckpointInfo info = info_;
    info.step = tier_->captured_step();
    auto slices = tier_->pin(info.step);
    if (!slices) return error(Code::kInternal, "there is no snapshot to write files from");
    saver_->begin(info, std::move(*slices));
    LEASEHOLD_RETURN_IF_ERROR(step(false, &figures.saving_s));
    LEASEHOLD_RETURN_IF_ERROR(wait_for_all(
        world_, *stream_, [this] { return !saver_->under_way(); }, 600));
    const BackgroundSaver::Outcome outcome = saver_->newest();
    LEASEHOLD_RETURN_IF_ERROR(outcome.status);
    tier_->unpin();
    figures.save_s.push_back(outcome.seconds);
    return meet();
  }

  Settings settings_;
  Communicator& world_;
  std::vector<std::string> nodes_;
  std::unique_ptr<CpuDevice> device_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<Stream> stream_;
  std::string directory_;
  std::unique_ptr<Mesh> mesh_;
  ModelSource source_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<WindowLoader> loader_;
  std::unique_ptr<MemoryTier> tier_;
  FileWork work_{posix_files(), {}};
  std::unique_ptr<BackgroundSaver> saver_;
  CheckpointInfo info_;
  double snapshot_s_ = 0;
};

void print_row(const char* name, const std::vector<double>& seconds) {
  const auto [least, most] = std::minmax_element(seconds.begin(), seconds.end());
  fmt::print("  {:<34} {:9.4f} s   ({:.4f} to {:.4f})\n", name, median(seconds), *least, *most);
}

void report(const Settings& settings, const ProcessGroup& processes, const Figures& figures) {
  const double off_s = median(figures.off_s);
  const double stall = median(figures.snapshot_s) / off_s - 1;
  const double save_s = median(figures.save_s);
  const double slower_s = median(figures.saving_s) - off_s;
  const auto size = static_cast<double>(figures.state_bytes);
  const double disk = median(figures.disk_bytes_per_s);
  fmt::print("{} parameters, {} x {} tokens, {} ranks on nodes {}, medians of {} rounds\n",
             num_parameters(settings.model), settings.batch, settings.model.sequence,
             processes.nodes().size(), fmt::join(processes.nodes(), " "), settings.rounds);
  print_row("step without snapshot", figures.off_s);
  print_row("step with snapshot and copy", figures.snapshot_s);
  print_row("step while files are written", figures.saving_s);
  print_row("snapshot alone, until committed", figures.commit_s);
  print_row("writing the files", figures.save_s);
  fmt::print("  stall of a snapshot: {:.2f}% of the step\n", 100 * stall);
  fmt::print("  slowdown while files are written: {:.2f}%\n",
             100 * slower_s / std::min(save_s, median(figures.saving_s)));
  fmt::print("  files: {:.0f} MB, {:.0f} MB/s; the disk's own {:.0f} MB/s; share {:.2f}\n",
             size / 1e6, size / save_s / 1e6, disk / 1e6, size / save_s / disk);
  if (settings.json_path.empty()) return;
  const nlohmann::ordered_json json = {{"parameters", num_parameters(settings.model)},
                                       {"ranks", processes.nodes().size()},
                                       {"step_s", figures.off_s},
                                       {"snapshot_step_s", figures.snapshot_s},
                                       {"saving_step_s", figures.saving_s},
                                       {"commit_s", figures.commit_s},
                                       {"save_s", figures.save_s},
                                       {"stall", stall},
                                       {"state_bytes", figures.state_bytes},
                                       {"disk_bytes_per_s", figures.disk_bytes_per_s}};
  std::ofstream(settings.json_path) << json.dump(2) << "\n";
}

Status measure(const Settings& settings, ProcessGroup& processes) {
  Bench bench(settings, processes);
  const Result<Figures> figures = bench.run();
  bench.clean();
  if (figures.ok() && processes.world().rank() == 0) report(settings, processes, *figures);
  return figures.status();
}

int run(int argc, char** argv) {
  Settings settings;
  CLI::App app("Times steps with and without snapshots and saves.", "checkpoint");
  app.add_option("--batch", settings.batch, "Sequences of the global batch")->capture_default_str();
  add_model_options(app, settings.model);
  app.add_option("--microbatch", settings.microbatch, "Sequences of a microbatch")
      ->capture_default_str();
  app.add_option("--threads", settings.threads, "Threads of a rank")->capture_default_str();
  app.add_option("--rounds", settings.rounds)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--directory", settings.directory, "Where files are written, for a while")
      ->capture_default_str();
  app.add_option("--json", settings.json_path, "File for the figures");
  return run_model_bench(app, settings.model, argc, argv,
                         [&](ProcessGroup& processes) { return measure(settings, processes); });
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) { return leasehold::run(argc, argv); }
