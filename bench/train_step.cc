// Training steps of GPT-2 124M (or other sizes) on random tokens: tokens/s, beside the time of the
// same step's matrix products alone, measured in turns in the same run (the floor), the share of
// the part's peak (MFU), and the memory by arena. Under mpirun the ranks share the batch, on GPUs
// one each. With --profile also the time of a step by operation. Formulas: bench/README.md.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/compute.h"
#include "bench/median.h"
#include "bench/model_bench.h"
#include "bench/products.h"
#include "bench/profiling_kernels.h"
#include "collectives/bootstrap.h"
#include "models/gpt.h"
#include "runtime/base/clock.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/train/engine.h"

namespace leasehold {

namespace {

struct Settings {
  ModelConfig model{.layers = 12, .hidden = 768, .heads = 12, .sequence = 64, .vocab = 50257};
  ComputeOptions compute;
  int64_t batch = 4;
  int64_t microbatch = 0;
  int64_t lanes = 0;
  int zero = 1;
  int64_t warmup = 1;
  int64_t steps = 5;
  bool floor = true;
  bool profile = false;
  std::string reduction = "canonical";
  std::string recompute = "none";
  std::string json_path;
};

// Of the slowest rank.
struct Measured {
  std::vector<double> step_s, floor_s;
  double floor_flops = 0;  // of all ranks
  int64_t floor_bytes = 0;
  double profiled_step_s = 0;
  std::optional<Profile> profile;
  double loss = 0;  // of the last step
};

std::string tokens_path(int rank) {
  return fmt::format("{}/leasehold-train-step-{}-{}.bin",
                     std::filesystem::temp_directory_path().string(), ::getpid(), rank);
}

EngineOptions engine_options(const Settings& settings) {
  EngineOptions options;
  options.B = settings.microbatch;
  options.T = settings.model.sequence;
  options.batch.num_microbatches = settings.batch / settings.microbatch;
  options.batch.num_lanes = settings.lanes > 0 ? settings.lanes : options.batch.num_microbatches;
  options.steps = 1000;
  options.seed = 1;
  options.optimizer = {
      .lr = 1e-4, .min_lr = 1e-5, .warmup_steps = 10, .weight_decay = 0.1, .grad_clip = 1};
  options.zero_stage = settings.zero;
  options.reduction = settings.reduction == "fast" ? Reduction::kFast : Reduction::kCanonical;
  if (settings.recompute == "attention") options.recompute = Recompute::kAttention;
  if (settings.recompute == "block") options.recompute = Recompute::kBlock;
  return options;
}

// One rank's parts.
class Bench {
 public:
  Bench(const Settings& settings, ProcessGroup& processes)
      : settings_(settings), world_(processes.world()), processes_(processes) {}

  Status create() {
    const NodePlace place{.node = processes_.node(),
                          .rank = processes_.node_local_rank(),
                          .size = processes_.node_local_size()};
    host_ = CpuDevice::create({});
    LEASEHOLD_ASSIGN_OR_RETURN(host_stream_, host_->create_stream("host"));
    auto compute = make_compute(settings_.compute, place);
    LEASEHOLD_RETURN_IF_ERROR(agree(world_, *host_stream_, compute.status(), deadline()));
    compute_ = std::move(compute).value();
    if (settings_.profile) {
      profiling_ = std::make_unique<ProfilingKernels>(*compute_.kernels, *compute_.device);
    }
    LEASEHOLD_ASSIGN_OR_RETURN(stream_, compute_.device->create_stream("bench"));
    auto mesh = Mesh::create(world_, {.data = world_.size()}, compute_.make_group);
    LEASEHOLD_RETURN_IF_ERROR(mesh.status());
    mesh_.emplace(std::move(mesh).value());
    loader_.emplace(
        make_random_loader(tokens_path(world_.rank()), settings_.model, settings_.batch));
    source_ = gpt_source(settings_.model);
    auto engine =
        Engine::create(*compute_.device, kernels(), *mesh_, source_, engine_options(settings_));
    LEASEHOLD_RETURN_IF_ERROR(agree(world_, *host_stream_, engine.status(), deadline()));
    engine_ = std::move(engine).value();
    return engine_->initialize();
  }

  Result<Measured> measure() {
    Measured measured;
    std::unique_ptr<Products> products;
    if (settings_.floor) {
      products = std::make_unique<Products>(settings_.model,
                                            settings_.microbatch * settings_.model.sequence,
                                            *compute_.device, *compute_.kernels, *stream_);
      measured.floor_bytes = products->bytes();
      measured.floor_flops = products->flops() * static_cast<double>(settings_.batch) /
                             static_cast<double>(settings_.microbatch);
    }
    for (int64_t i = -settings_.warmup; i < settings_.steps; ++i) {
      LEASEHOLD_ASSIGN_OR_RETURN(const double step_s, time_step(measured));
      if (i >= 0) measured.step_s.push_back(step_s);
      if (!products) continue;
      LEASEHOLD_ASSIGN_OR_RETURN(const double floor_s, time_products(*products));
      if (i >= 0) measured.floor_s.push_back(floor_s);
    }
    if (profiling_) {
      // The first makes the marks.
      for (int i = 0; i < 2; ++i) {
        profiling_->begin();
        LEASEHOLD_ASSIGN_OR_RETURN(measured.profiled_step_s, time_step(measured));
        measured.profile = profiling_->collect();
      }
    }
    return measured;
  }

  const std::string& device_name() const { return compute_.device->name(); }
  DeviceKind device_kind() const { return compute_.device->kind(); }
  std::vector<ArenaSize> memory() const { return engine_->memory(); }
  std::string arithmetic_class() const { return compute_.kernels->arithmetic_class(); }

 private:
  Deadline deadline() const { return Deadline::after_s(600); }
  Kernels& kernels() { return profiling_ ? *profiling_ : *compute_.kernels; }
  Status meet() { return barrier(world_, *host_stream_, deadline()); }

  // run_step returns when the device has done all of it.
  Result<double> time_step(Measured& measured) {
    LEASEHOLD_RETURN_IF_ERROR(meet());
    const double begin_s = clock_.steady_s();
    LEASEHOLD_ASSIGN_OR_RETURN(const StepResult result,
                               engine_->run_step(next_step_++, *loader_, {}));
    const double step_s = clock_.steady_s() - begin_s;
    measured.loss = result.loss;
    return step_s;
  }

  Result<double> time_products(Products& products) {
    const int64_t microbatches = settings_.batch / settings_.microbatch / world_.size();
    LEASEHOLD_RETURN_IF_ERROR(meet());
    const double begin_s = clock_.steady_s();
    for (int64_t m = 0; m < microbatches; ++m) products.run();
    LEASEHOLD_RETURN_IF_ERROR(stream_->synchronize(deadline()));
    LEASEHOLD_RETURN_IF_ERROR(meet());  // the slowest rank's
    return clock_.steady_s() - begin_s;
  }

  const Settings& settings_;
  Communicator& world_;
  ProcessGroup& processes_;
  Clock& clock_ = system_clock();
  std::unique_ptr<CpuDevice> host_;
  std::unique_ptr<Stream> host_stream_;
  ComputeDevice compute_;
  std::unique_ptr<ProfilingKernels> profiling_;
  std::unique_ptr<Stream> stream_;
  std::optional<Mesh> mesh_;
  std::optional<WindowLoader> loader_;
  ModelSource source_;
  std::unique_ptr<Engine> engine_;
  int64_t next_step_ = 0;
};

// Prints lines for people and gathers the same for scripts.
class Report {
 public:
  Report(const Settings& settings, int ranks, const Bench& bench, const Measured& measured)
      : settings_(settings), ranks_(ranks), bench_(bench), measured_(measured) {
    step_s_ = median(measured.step_s);
    tokens_ = static_cast<double>(settings.batch * settings.model.sequence);
  }

  nlohmann::ordered_json print() {
    head();
    speed();
    if (!measured_.floor_s.empty()) floor();
    memory();
    if (measured_.profile) profile();
    return std::move(json_);
  }

 private:
  void head() {
    const ModelConfig& model = settings_.model;
    json_ = {{"device", bench_.device_name()},
             {"arithmetic_class", bench_.arithmetic_class()},
             {"precision", settings_.compute.section.precision},
             {"family", model.family},
             {"layers", model.layers},
             {"hidden", model.hidden},
             {"parameters", num_parameters(model)},
             {"batch", settings_.batch},
             {"sequence", model.sequence},
             {"microbatch", settings_.microbatch},
             {"ranks", ranks_},
             {"threads", settings_.compute.section.threads},
             {"zero", settings_.zero},
             {"recompute", settings_.recompute},
             {"reduction", settings_.reduction}};
    const bool is_cpu = bench_.device_kind() == DeviceKind::kCpu;
    fmt::print(
        "{} parameters, {} x {} tokens in microbatches of {}, {} ranks{}, ZeRO {}, {} on {}\n",
        num_parameters(model), settings_.batch, model.sequence, settings_.microbatch, ranks_,
        is_cpu ? fmt::format(" x {} threads", settings_.compute.section.threads) : "",
        settings_.zero, settings_.compute.section.precision, bench_.device_name());
  }

  void speed() {
    const auto [least, most] = std::ranges::minmax(measured_.step_s);
    const double flops_per_s =
        static_cast<double>(flops_per_token(settings_.model)) * tokens_ / step_s_ / ranks_;
    json_["step_s"] = step_s_;
    json_["step_s_range"] = {least, most};
    json_["steps"] = measured_.step_s.size();
    json_["tokens_per_s"] = tokens_ / step_s_;
    json_["model_flops_per_token"] = flops_per_token(settings_.model);
    json_["model_tflops_per_s_of_a_rank"] = flops_per_s * 1e-12;
    json_["loss"] = measured_.loss;
    fmt::print(
        "  step            {:10.5f} s   {:10.1f} tokens/s   ({:.5f} to {:.5f} s in {} steps)\n",
        step_s_, tokens_ / step_s_, least, most, measured_.step_s.size());
    fmt::print("  a rank          {:10.3f} TFLOP/s of the model\n", flops_per_s * 1e-12);
    const Peak peak = find_peak(settings_.compute, bench_.device_name());
    json_["peak_source"] = peak.source;
    if (peak.flops_per_s > 0) {
      json_["peak_tflops_per_s"] = peak.flops_per_s * 1e-12;
      json_["mfu"] = flops_per_s / peak.flops_per_s;
      fmt::print("  MFU             {:10.1f} %   of {:.1f} TFLOP/s ({})\n",
                 100 * flops_per_s / peak.flops_per_s, peak.flops_per_s * 1e-12, peak.source);
    } else {
      fmt::print("  no MFU: {}\n", peak.source);
    }
  }

  void floor() {
    const double floor_s = median(measured_.floor_s);
    const double flops = measured_.floor_flops;
    json_["floor_s"] = floor_s;
    json_["floor_share"] = floor_s / step_s_;
    json_["floor_gflops_per_s"] = flops / floor_s / 1e9;
    fmt::print("  products alone  {:10.5f} s   {:10.1f} tokens/s   {:.1f} GFLOP/s\n", floor_s,
               tokens_ / floor_s, flops / floor_s / 1e9);
    fmt::print("  share of the floor {:.1f}%\n", 100 * floor_s / step_s_);
  }

  void memory() {
    const std::vector<ArenaSize> arenas = bench_.memory();
    for (const ArenaSize& arena : arenas) {
      json_["memory_bytes"][arena.name] = arena.bytes;
      const char* where =
          bench_.device_kind() != DeviceKind::kCpu && arena.kind == MemoryKind::kPinned
              ? "   pinned host memory"
              : "";
      fmt::print("  {:<15} {:10.1f} MiB{}\n", arena.name,
                 static_cast<double>(arena.bytes) / (1 << 20), where);
    }
    const int64_t bytes = device_bytes(arenas, bench_.device_kind());
    json_["device_bytes"] = bytes;
    fmt::print("  {:<15} {:10.1f} MiB of the device\n", "in all",
               static_cast<double>(bytes) / (1 << 20));
  }

  void profile() {
    const Profile& profile = *measured_.profile;
    const double step_s = measured_.profiled_step_s;
    fmt::print("a step by operation, rank 0 ({:.5f} s with the marks)\n", step_s);
    auto& rows = json_["profile"]["operations"] = nlohmann::ordered_json::array();
    const auto line = [&](const std::string& name, const std::string& calls, double seconds,
                          const std::string& rate) {
      fmt::print("  {:<52} {:>6} {:10.3f} ms {:6.1f} % {}\n", name, calls, 1e3 * seconds,
                 100 * seconds / step_s, rate);
    };
    for (const OperationTime& of : profile.operations) {
      nlohmann::ordered_json row = {{"operation", of.name},
                                    {"shape", of.shape},
                                    {"calls", of.calls},
                                    {"seconds", of.seconds}};
      std::string rate;
      if (of.flops > 0) {
        row["tflops_per_s"] = of.flops / of.seconds * 1e-12;
        rate = fmt::format("{:8.1f} TFLOP/s", of.flops / of.seconds * 1e-12);
      }
      rows.push_back(std::move(row));
      line(of.name + " " + of.shape, std::to_string(of.calls), of.seconds, rate);
    }
    json_["profile"]["operations_s"] = profile.operations_s;
    json_["profile"]["span_s"] = profile.span_s;
    json_["profile"]["step_s"] = step_s;
    line("all operations", "", profile.operations_s, "");
    line("between the first and the last: copies and gaps", "",
         profile.span_s - profile.operations_s, "");
    line("before and after", "", step_s - profile.span_s, "");
  }

  const Settings& settings_;
  int ranks_;
  const Bench& bench_;
  const Measured& measured_;
  double step_s_ = 0, tokens_ = 0;
  nlohmann::ordered_json json_;
};

Status measure(const Settings& settings, ProcessGroup& processes) {
  Bench bench(settings, processes);
  LEASEHOLD_RETURN_IF_ERROR(bench.create());
  LEASEHOLD_ASSIGN_OR_RETURN(const Measured measured, bench.measure());
  if (processes.world().rank() != 0) return ok_status();
  const auto json = Report(settings, processes.world().size(), bench, measured).print();
  if (settings.json_path.empty()) return ok_status();
  std::ofstream file(settings.json_path);
  file << json.dump(2) << "\n";
  file.close();
  return file ? ok_status() : error(Code::kStorage, "cannot write {}", settings.json_path);
}

// Every microbatch on a rank, all of them alike.
Status complete(Settings& settings, int64_t ranks) {
  if (settings.microbatch == 0) settings.microbatch = settings.batch / ranks;
  if (settings.microbatch < 1 || settings.batch % (settings.microbatch * ranks) != 0) {
    return error(Code::kUsage, "--batch {} is no multiple of --microbatch {} on each of {} ranks",
                 settings.batch, settings.microbatch, ranks);
  }
  return ok_status();
}

int run(int argc, char** argv) {
  Settings settings;
  CLI::App app("Times training steps of GPT-2 124M on random tokens.", "train_step");
  app.add_option("--batch", settings.batch, "Sequences of the global batch")->capture_default_str();
  add_model_options(app, settings.model);
  add_compute_options(app, settings.compute);
  app.add_option("--microbatch", settings.microbatch,
                 "Sequences of a microbatch (default: batch / ranks)");
  app.add_option("--lanes", settings.lanes, "Lanes (default: one per microbatch)");
  app.add_option("--zero", settings.zero, "ZeRO stage; 2 and 3 need a lane per microbatch")
      ->check(CLI::Range(0, 3))
      ->capture_default_str();
  app.add_option("--recompute", settings.recompute, "What backward computes again")
      ->check(CLI::IsMember({"none", "attention", "block"}))
      ->capture_default_str();
  app.add_option("--reduction", settings.reduction)
      ->check(CLI::IsMember({"canonical", "fast"}))
      ->capture_default_str();
  app.add_option("--warmup", settings.warmup, "Steps not counted, first")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--steps", settings.steps, "Steps counted")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("!--no-floor", settings.floor, "Leave out the products alone");
  app.add_flag("--profile", settings.profile, "Also the time of a step by operation");
  app.add_option("--json", settings.json_path, "File for the figures");
  return run_model_bench(app, settings.model, argc, argv, [&](ProcessGroup& processes) {
    const Status completed = complete(settings, processes.world().size());
    return completed.ok() ? measure(settings, processes) : completed;
  });
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) { return leasehold::run(argc, argv); }
