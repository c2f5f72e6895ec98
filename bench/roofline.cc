// How close every operation of Kernels comes to what bounds it: the time that its bytes take at the
// speed of a large copy, or its products at the speed of a large product, whichever is longer, over
// the time that it takes. At the shapes of GPT-2 124M or another model; on a GPU, or on the CPU.
// Formulas: bench/README.md.
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/compute.h"
#include "bench/device_peak.h"
#include "bench/model_bench.h"
#include "bench/roofline_operations.h"
#include "bench/roofline_timer.h"

namespace leasehold {

namespace {

struct Settings {
  ModelConfig model{.layers = 12, .hidden = 768, .heads = 12, .sequence = 1024, .vocab = 50257};
  ComputeOptions compute{.section = {.kind = "cuda", .precision = "bf16"}};
  int64_t microbatch = 4;
  TimerOptions timer;
  int64_t rotate_mib = 512;
  int64_t copy_mib = 1024;
  int64_t product = 8192;
  int64_t wide_heads = 32;
  bool others = true;
  std::string json_path;
};

// What bounds operations: measured here, and the product's peak as published.
struct Bounds {
  double bytes_per_s = 0;
  double flops_per_s = 0;
  Peak peak;
};

class Bench {
 public:
  Bench(const Settings& settings, ComputeDevice& compute, Stream& stream)
      : settings_(settings),
        device_(*compute.device),
        kernels_(*compute.kernels),
        stream_(stream),
        timer_(*compute.device, *compute.kernels, stream, settings.timer) {}

  nlohmann::ordered_json run() {
    json_ = {{"device", device_.name()},
             {"arithmetic_class", kernels_.arithmetic_class()},
             {"precision", settings_.compute.section.precision},
             {"family", settings_.model.family},
             {"parameters", num_parameters(settings_.model)},
             {"microbatch", settings_.microbatch},
             {"sequence", settings_.model.sequence}};
    measure_bounds();
    heading("a step of one microbatch");
    for (const auto& row :
         step_operations(settings_.model, settings_.microbatch, kernels_, stream_))
      measure(row, "step");
    sums();
    if (settings_.wide_heads > 0) {
      heading("attention of wider models");
      for (const AttentionShape& shape : wide_shapes()) {
        for (const auto& row : attention_operations(shape, kernels_, stream_)) measure(row, "wide");
      }
    }
    if (settings_.others) {
      heading("what this model's step on one rank does not use");
      for (const auto& row :
           other_operations(settings_.model, settings_.microbatch, kernels_, stream_))
        measure(row, "others");
    }
    return std::move(json_);
  }

 private:
  // As many tokens as the model's, in its sequences and in one; the second with grouped heads.
  std::vector<AttentionShape> wide_shapes() const {
    const int64_t H = settings_.wide_heads, D = 128;
    const int64_t B = settings_.microbatch, T = settings_.model.sequence;
    std::vector<AttentionShape> shapes = {{B, T, H, 1, D}, {1, B * T, H, 1, D}};
    if (H % 4 == 0) shapes.push_back({1, B * T, H / 4, 4, D});
    return shapes;
  }

  void measure_bounds() {
    const RooflineOperation copy = copy_operation(settings_.copy_mib << 20, stream_);
    const RooflineOperation product = square_operation(settings_.product, kernels_, stream_);
    bounds_.bytes_per_s = copy.bytes / timer_.time(copy.make).seconds;
    bounds_.flops_per_s = product.flops / timer_.time(product.make).seconds;
    bounds_.peak = find_peak(settings_.compute, device_.name());
    const auto published = find_device_peak(device_.name());
    fmt::print("{}, {}\n", device_.name(), settings_.compute.section.precision);
    fmt::print("  copy of {}: {:.1f} GB/s{}\n", copy.shape, bounds_.bytes_per_s * 1e-9,
               published ? fmt::format(", {:.1f} % of {:.0f} (published of {})",
                                       bounds_.bytes_per_s * 1e-7 / published->memory_gb_per_s,
                                       published->memory_gb_per_s, published->part)
                         : "");
    fmt::print("  product {}: {:.1f} TFLOP/s{}\n", product.shape, bounds_.flops_per_s * 1e-12,
               bounds_.peak.flops_per_s > 0
                   ? fmt::format(", {:.1f} % of {:.1f} ({})",
                                 100 * bounds_.flops_per_s / bounds_.peak.flops_per_s,
                                 bounds_.peak.flops_per_s * 1e-12, bounds_.peak.source)
                   : "; " + bounds_.peak.source);
    json_["copy"] = {{"bytes", settings_.copy_mib << 20}, {"gb_per_s", bounds_.bytes_per_s * 1e-9}};
    if (published) json_["copy"]["published_gb_per_s"] = published->memory_gb_per_s;
    json_["product"] = {{"size", settings_.product},
                        {"tflops_per_s", bounds_.flops_per_s * 1e-12},
                        {"peak_source", bounds_.peak.source}};
    if (bounds_.peak.flops_per_s > 0)
      json_["product"]["peak_tflops_per_s"] = bounds_.peak.flops_per_s * 1e-12;
  }

  void heading(const std::string& title) {
    fmt::print("\n{}\n  {:<34} {:<30} {:>6} {:>10} {:>8} {:>9} {:>9}  {:<8} {:>7} {:>7}\n", title,
               "operation", "shape", "calls", "us", "host us", "GB/s", "TFLOP/s", "bound", "share",
               "of peak");
  }

  void measure(const RooflineOperation& row, const char* part) {
    const Timing timing = timer_.time(row.make);
    const double by_bytes_s = row.bytes / bounds_.bytes_per_s;
    const double by_flops_s = row.flops / bounds_.flops_per_s;
    const bool by_flops = by_flops_s > by_bytes_s;
    const double bound_s = by_flops ? by_flops_s : by_bytes_s;
    nlohmann::ordered_json json = {{"operation", row.name},
                                   {"part", part},
                                   {"shape", row.shape},
                                   {"calls", row.calls},
                                   {"seconds", timing.seconds},
                                   {"host_seconds", timing.host_seconds},
                                   {"bytes", row.bytes},
                                   {"flops", row.flops},
                                   {"bound", by_flops ? "products" : "memory"},
                                   {"bound_seconds", bound_s},
                                   {"share", bound_s / timing.seconds},
                                   {"calls_of_a_batch", timing.calls},
                                   {"sets_of_buffers", timing.sets}};
    std::string of_peak;
    if (row.flops > 0 && bounds_.peak.flops_per_s > 0) {
      const double share = row.flops / timing.seconds / bounds_.peak.flops_per_s;
      json["share_of_peak"] = share;
      of_peak = fmt::format("{:.1f} %", 100 * share);
    }
    fmt::print("  {:<34} {:<30} {:>6} {:>10.2f} {:>8.2f} {:>9.1f} {:>9} {:>9} {:>6.1f}% {:>7}\n",
               row.name, row.shape, row.calls, timing.seconds * 1e6, timing.host_seconds * 1e6,
               row.bytes / timing.seconds * 1e-9,
               row.flops > 0 ? fmt::format("{:.2f}", row.flops / timing.seconds * 1e-12) : "",
               by_flops ? "products" : "memory", 100 * bound_s / timing.seconds, of_peak);
    std::fflush(stdout);
    json_["operations"].push_back(std::move(json));
    step_s_ += row.calls * timing.seconds;
    host_s_ += row.calls * timing.host_seconds;
    bound_s_ += row.calls * bound_s;
    if (by_flops) products_s_ += row.calls * timing.seconds;
  }

  void sums() {
    const auto tokens = static_cast<double>(settings_.microbatch * settings_.model.sequence);
    fmt::print(
        "\nall calls of a step: {:.3f} ms, {:.3f} of them bound by products; their bounds {:.3f} "
        "ms "
        "({:.1f} %); their enqueueing on the host {:.3f} ms; {:.0f} tokens/s without gaps\n",
        step_s_ * 1e3, products_s_ * 1e3, bound_s_ * 1e3, 100 * bound_s_ / step_s_, host_s_ * 1e3,
        tokens / step_s_);
    json_["step"] = {{"seconds", step_s_},
                     {"seconds_bound_by_products", products_s_},
                     {"bound_seconds", bound_s_},
                     {"host_seconds", host_s_},
                     {"tokens_per_s", tokens / step_s_}};
  }

  const Settings& settings_;
  Device& device_;
  Kernels& kernels_;
  Stream& stream_;
  RooflineTimer timer_;
  Bounds bounds_;
  double step_s_ = 0, host_s_ = 0, bound_s_ = 0, products_s_ = 0;
  nlohmann::ordered_json json_;
};

Status measure(Settings& settings) {
  LEASEHOLD_ASSIGN_OR_RETURN(settings.model, complete_model_config(settings.model));
  settings.timer.rotate_bytes = settings.rotate_mib << 20;
  LEASEHOLD_ASSIGN_OR_RETURN(ComputeDevice compute,
                             make_compute(settings.compute, {.node = "here"}));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto stream, compute.device->create_stream("bench"));
  const nlohmann::ordered_json json = Bench(settings, compute, *stream).run();
  if (settings.json_path.empty()) return ok_status();
  std::ofstream file(settings.json_path);
  file << json.dump(2) << "\n";
  file.close();
  return file ? ok_status() : error(Code::kStorage, "cannot write {}", settings.json_path);
}

int run(int argc, char** argv) {
  Settings settings;
  CLI::App app("Each kernel's share of what bounds it", "roofline");
  add_model_options(app, settings.model);
  add_compute_options(app, settings.compute);
  app.add_option("--microbatch", settings.microbatch, "Sequences of a microbatch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seconds", settings.timer.seconds, "For one row; 0: one call each time")
      ->check(CLI::Range(0.0, 60.0))
      ->capture_default_str();
  app.add_option("--rotate-mib", settings.rotate_mib,
                 "Calls take turns on buffers of this size in all, more than caches hold")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--copy-mib", settings.copy_mib, "Size of the copy that bounds memory")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--product", settings.product, "Rows and columns of the product that bounds them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--wide-heads", settings.wide_heads,
                 "Heads of 128 channels of the wider attention; 0: leave it out")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("!--no-others", settings.others, "Leave out what the model's step does not use");
  app.add_option("--json", settings.json_path, "File for the figures");
  CLI11_PARSE(app, argc, argv);
  try {
    const Status status = measure(settings);
    if (status.ok()) return 0;
    fmt::print(stderr, "roofline: {}\n", status.message());
    return status.exit_code();
  } catch (const StatusError& caught) {
    fmt::print(stderr, "roofline: {}\n", caught.status().message());
    return caught.status().exit_code();
  }
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) { return leasehold::run(argc, argv); }
