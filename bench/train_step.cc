// Training steps of GPT-2 124M (or other sizes) on random tokens: tokens/s, beside the time of the
// same step's matrix products alone, measured in turns in the same run (the floor), and the memory
// by arena. Under mpirun the ranks share the batch. Formulas: tokens/s = tokens of the global batch
// / median step time; floor share = median time of the products of the slowest rank / median step
// time.
#include <algorithm>
#include <cstdio>
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

namespace leasehold {

namespace {

struct Settings {
  ModelConfig model{.layers = 12, .hidden = 768, .heads = 12, .sequence = 64, .vocab = 50257};
  int64_t batch = 4;
  int64_t microbatch = 0;
  int64_t lanes = 0;
  int threads = 1;
  int zero = 1;
  int64_t warmup = 1;
  int64_t steps = 5;
  bool floor = true;
  std::string precision = "fp32";
  std::string reduction = "canonical";
  std::string json_path;
};

// The linear layers of one microbatch, forward and both backwards, on weights as large as the
// model's.
class Products {
 public:
  Products(const Settings& settings, CpuDevice& device, Kernels& kernels, Stream& stream)
      : kernels_(kernels), stream_(stream), N_(settings.microbatch * settings.model.sequence) {
    const ModelConfig& model = settings.model;
    for (int64_t layer = 0; layer < model.layers; ++layer) {
      shapes_.push_back({model.hidden, 3 * model.hidden});
      shapes_.push_back({model.hidden, model.hidden});
      shapes_.push_back({model.hidden, model.ffn});
      shapes_.push_back({model.ffn, model.hidden});
    }
    shapes_.push_back({model.hidden, model.vocab});
    Arena measured = Arena::measuring("products");
    allocate(measured);
    arena_ =
        std::make_unique<Arena>(Arena::create(device, "products", measured.peak_bytes()).value());
    allocate(*arena_);
  }

  double flops() const {
    double flops = 0;
    for (const auto& shape : shapes_) flops += 6.0 * static_cast<double>(N_ * shape.K * shape.O);
    return flops;
  }

  void run() {
    for (const auto& shape : shapes_) {
      kernels_.linear_forward(stream_, shape.x, shape.weight, {}, Activation::kNone, {}, shape.y);
    }
    for (auto shape = shapes_.rbegin(); shape != shapes_.rend(); ++shape) {
      kernels_.linear_backward_weight(stream_, shape->y, shape->x, shape->dweight, {},
                                      Write::kOverwrite);
      kernels_.linear_backward_input(stream_, shape->y, shape->weight, Activation::kNone, {},
                                     shape->x, Write::kOverwrite);
    }
    throw_if_error(stream_.synchronize(Deadline::after_s(600)));
  }

 private:
  struct Product {
    int64_t K, O;
    Tensor weight{}, dweight{}, x{}, y{};
  };

  void allocate(Arena& arena) {
    const int64_t activations = arena.mark();
    for (Product& shape : shapes_) {
      arena.release_to(activations);
      shape.x = arena.allocate(kernels_.dtype(), {N_, shape.K});
      shape.y = arena.allocate(kernels_.dtype(), {N_, shape.O});
    }
    for (Product& shape : shapes_) {
      shape.weight = arena.allocate(kernels_.dtype(), {shape.O, shape.K});
      shape.dweight = arena.allocate(kernels_.gradient_dtype(), {shape.O, shape.K});
    }
  }

  Kernels& kernels_;
  Stream& stream_;
  int64_t N_;
  std::vector<Product> shapes_;
  std::unique_ptr<Arena> arena_;
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
  return options;
}

void report(const Settings& settings, int ranks, double step_s, double floor_s, double flops,
            const std::vector<ArenaSize>& memory) {
  const double tokens = static_cast<double>(settings.batch * settings.model.sequence);
  nlohmann::ordered_json json = {{"parameters", num_parameters(settings.model)},
                                 {"batch", settings.batch},
                                 {"sequence", settings.model.sequence},
                                 {"microbatch", settings.microbatch},
                                 {"ranks", ranks},
                                 {"threads", settings.threads},
                                 {"zero", settings.zero},
                                 {"reduction", settings.reduction},
                                 {"step_s", step_s},
                                 {"tokens_per_s", tokens / step_s}};
  fmt::print("{} parameters, {} x {} tokens, {} ranks x {} threads, ZeRO {}\n",
             num_parameters(settings.model), settings.batch, settings.model.sequence, ranks,
             settings.threads, settings.zero);
  fmt::print("  step            {:10.4f} s   {:10.1f} tokens/s\n", step_s, tokens / step_s);
  if (floor_s > 0) {
    json["floor_s"] = floor_s;
    json["floor_share"] = floor_s / step_s;
    json["floor_gflops_per_s"] = flops / floor_s / 1e9;
    fmt::print("  products alone  {:10.4f} s   {:10.1f} tokens/s   {:.1f} GFLOP/s\n", floor_s,
               tokens / floor_s, flops / floor_s / 1e9);
    fmt::print("  share of the floor {:.1f}%\n", 100 * floor_s / step_s);
  }
  for (const ArenaSize& arena : memory) {
    json["memory_bytes"][arena.name] = arena.bytes;
    fmt::print("  {:<15} {:10.1f} MiB\n", arena.name, static_cast<double>(arena.bytes) / (1 << 20));
  }
  if (!settings.json_path.empty()) std::ofstream(settings.json_path) << json.dump(2) << "\n";
}

Status measure(const Settings& settings, ProcessGroup& processes) {
  Communicator& world = processes.world();
  const auto device = CpuDevice::create({.num_threads = settings.threads});
  const auto kernels =
      create_cpu_kernels(*device, settings.precision == "bf16" ? DType::kBf16 : DType::kF32);
  LEASEHOLD_ASSIGN_OR_RETURN(const auto stream, device->create_stream("bench"));
  LEASEHOLD_ASSIGN_OR_RETURN(Mesh mesh, Mesh::create(world, {.data = world.size()}));
  const ModelSource source = gpt_source(settings.model);
  const WindowLoader loader =
      make_random_loader(tokens_path(world.rank()), settings.model, settings.batch);
  LEASEHOLD_ASSIGN_OR_RETURN(
      const auto engine, Engine::create(*device, *kernels, mesh, source, engine_options(settings)));
  LEASEHOLD_RETURN_IF_ERROR(engine->initialize());
  std::unique_ptr<Products> products;
  if (settings.floor) products = std::make_unique<Products>(settings, *device, *kernels, *stream);
  // The products of this rank's microbatches.
  const int64_t microbatches = settings.batch / settings.microbatch / world.size();

  std::vector<double> step_s, floor_s;
  Clock& clock = system_clock();
  for (int64_t i = -settings.warmup; i < settings.steps; ++i) {
    LEASEHOLD_RETURN_IF_ERROR(barrier(world, *stream, Deadline::after_s(600)));
    double begin_s = clock.steady_s();
    LEASEHOLD_RETURN_IF_ERROR(engine->run_step(i + settings.warmup, loader, {}).status());
    if (i >= 0) step_s.push_back(clock.steady_s() - begin_s);
    if (!products) continue;
    LEASEHOLD_RETURN_IF_ERROR(barrier(world, *stream, Deadline::after_s(600)));
    begin_s = clock.steady_s();
    for (int64_t m = 0; m < microbatches; ++m) products->run();
    LEASEHOLD_RETURN_IF_ERROR(
        barrier(world, *stream, Deadline::after_s(600)));  // the slowest rank's
    if (i >= 0) floor_s.push_back(clock.steady_s() - begin_s);
  }
  if (world.rank() == 0) {
    const double flops =
        products ? products->flops() * static_cast<double>(microbatches * world.size()) : 0;
    report(settings, world.size(), median(step_s), products ? median(floor_s) : 0, flops,
           engine->memory());
  }
  return ok_status();
}

int run(int argc, char** argv) {
  Settings settings;
  CLI::App app("Times training steps of GPT-2 124M on random tokens.", "train_step");
  app.add_option("--batch", settings.batch, "Sequences of the global batch")->capture_default_str();
  add_model_options(app, settings.model);
  app.add_option("--microbatch", settings.microbatch,
                 "Sequences of a microbatch (default: batch / ranks)");
  app.add_option("--lanes", settings.lanes, "Lanes (default: one per microbatch)");
  app.add_option("--threads", settings.threads, "Threads of a rank")->capture_default_str();
  app.add_option("--zero", settings.zero, "ZeRO stage; 2 and 3 need a lane per microbatch")
      ->check(CLI::Range(0, 3))
      ->capture_default_str();
  app.add_option("--precision", settings.precision)
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  app.add_option("--reduction", settings.reduction)
      ->check(CLI::IsMember({"canonical", "fast"}))
      ->capture_default_str();
  app.add_option("--warmup", settings.warmup, "Steps not counted, first")->capture_default_str();
  app.add_option("--steps", settings.steps, "Steps counted")->capture_default_str();
  app.add_flag("!--no-floor", settings.floor, "Leave out the products alone");
  app.add_option("--json", settings.json_path, "File for the figures");
  return run_model_bench(app, settings.model, argc, argv, [&](ProcessGroup& processes) {
    if (settings.microbatch == 0) settings.microbatch = settings.batch / processes.world().size();
    return measure(settings, processes);
  });
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) { return leasehold::run(argc, argv); }
