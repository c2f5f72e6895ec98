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

#include "bench/model_bench.h"
#include "bench/products.h"
#include "bench/profiling_kernels.h"
#include "bench/train_report.h"
#include "collectives/bootstrap.h"
#include "models/gpt.h"
#include "runtime/base/clock.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/train/engine.h"

namespace leasehold {

namespace {

std::string tokens_path(int rank) {
  return fmt::format("{}/leasehold-train-step-{}-{}.bin",
                     std::filesystem::temp_directory_path().string(), ::getpid(), rank);
}

EngineOptions engine_options(const TrainStepSettings& settings) {
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
  Bench(const TrainStepSettings& settings, ProcessGroup& processes)
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

  Result<TrainStepMeasured> measure() {
    TrainStepMeasured measured;
    measured.device_name = compute_.device->name();
    measured.device_kind = compute_.device->kind();
    std::unique_ptr<Products> products;
    if (settings_.floor) {
      products = std::make_unique<Products>(settings_.model,
                                            settings_.microbatch * settings_.model.sequence,
                                            *compute_.device, *compute_.kernels, *stream_);
      measured.floor_flops = products->flops() * static_cast<double>(settings_.batch) /
                             static_cast<double>(settings_.microbatch);
    }
    for (int64_t i = -settings_.warmup; i < settings_.steps; ++i) {
      LEASEHOLD_ASSIGN_OR_RETURN(const double step_s, time_step(measured));
      if (i >= 0) {
        measured.step_s.push_back(step_s);
        measured.communication += newest_communication_;
      }
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
    measured.arithmetic_class = compute_.kernels->arithmetic_class();
    measured.memory = engine_->memory();
    return measured;
  }

 private:
  Deadline deadline() const { return Deadline::after_s(600); }
  Kernels& kernels() { return profiling_ ? *profiling_ : *compute_.kernels; }
  Status meet() { return barrier(world_, *host_stream_, deadline()); }

  // run_step returns when the device has done all of it.
  Result<double> time_step(TrainStepMeasured& measured) {
    LEASEHOLD_RETURN_IF_ERROR(meet());
    const double begin_s = clock_.steady_s();
    LEASEHOLD_ASSIGN_OR_RETURN(const StepResult result,
                               engine_->run_step(next_step_++, *loader_, {}));
    const double step_s = clock_.steady_s() - begin_s;
    measured.loss = result.loss;
    newest_communication_ = result.communication;
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

  const TrainStepSettings& settings_;
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
  Communication newest_communication_;
};

Status measure(const TrainStepSettings& settings, ProcessGroup& processes) {
  Bench bench(settings, processes);
  LEASEHOLD_RETURN_IF_ERROR(bench.create());
  LEASEHOLD_ASSIGN_OR_RETURN(const TrainStepMeasured measured, bench.measure());
  if (processes.world().rank() != 0) return ok_status();
  const auto json = report(settings, processes.world().size(), measured);
  if (settings.json_path.empty()) return ok_status();
  std::ofstream file(settings.json_path);
  file << json.dump(2) << "\n";
  file.close();
  return file ? ok_status() : error(Code::kStorage, "cannot write {}", settings.json_path);
}

// Every microbatch on a rank, all of them alike.
Status complete(TrainStepSettings& settings, int64_t ranks) {
  if (settings.microbatch == 0) settings.microbatch = settings.batch / ranks;
  if (settings.microbatch < 1 || settings.batch % (settings.microbatch * ranks) != 0) {
    return error(Code::kUsage, "--batch {} is no multiple of --microbatch {} on each of {} ranks",
                 settings.batch, settings.microbatch, ranks);
  }
  return ok_status();
}

int run(int argc, char** argv) {
  TrainStepSettings settings;
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
