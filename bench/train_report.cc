#include "bench/train_report.h"

#include <algorithm>

#include "bench/median.h"

namespace leasehold {

namespace {

class Report {
 public:
  Report(const TrainStepSettings& settings, int ranks, const TrainStepMeasured& measured)
      : settings_(settings), ranks_(ranks), measured_(measured) {
    step_s_ = median(measured.step_s);
    tokens_ = static_cast<double>(settings.batch * settings.model.sequence);
  }

  nlohmann::ordered_json print() {
    head();
    speed();
    communication();
    if (!measured_.floor_s.empty()) floor();
    memory();
    if (measured_.profile) profile();
    return std::move(json_);
  }

 private:
  void head() {
    const ModelConfig& model = settings_.model;
    json_ = {{"device", measured_.device_name},
             {"arithmetic_class", measured_.arithmetic_class},
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
    const bool is_cpu = measured_.device_kind == DeviceKind::kCpu;
    fmt::print(
        "{} parameters, {} x {} tokens in microbatches of {}, {} ranks{}, ZeRO {}, {} on {}\n",
        num_parameters(model), settings_.batch, model.sequence, settings_.microbatch, ranks_,
        is_cpu ? fmt::format(" x {} threads", settings_.compute.section.threads) : "",
        settings_.zero, settings_.compute.section.precision, measured_.device_name);
    fmt::print("  {}\n", measured_.arithmetic_class);
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
    const Peak peak = find_peak(settings_.compute, measured_.device_name);
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

  void communication() {
    const std::optional<double> hidden = measured_.communication.hidden_share();
    if (!hidden) return;
    const auto steps = static_cast<double>(measured_.step_s.size());
    const double busy_s = measured_.communication.busy_s / steps;
    const double exposed_s = measured_.communication.exposed_s / steps;
    json_["communication"] = {
        {"busy_s", busy_s}, {"exposed_s", exposed_s}, {"hidden_share", *hidden}};
    fmt::print(
        "  communication   {:10.5f} s   {:10.5f} s exposed, {:.1f}% hidden (mean of rank 0)\n",
        busy_s, exposed_s, 100 * *hidden);
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
    const std::vector<ArenaSize>& arenas = measured_.memory;
    for (const ArenaSize& arena : arenas) {
      json_["memory_bytes"][arena.name] = arena.bytes;
      const char* where =
          measured_.device_kind != DeviceKind::kCpu && arena.kind == MemoryKind::kPinned
              ? "   pinned host memory"
              : "";
      fmt::print("  {:<15} {:10.1f} MiB{}\n", arena.name,
                 static_cast<double>(arena.bytes) / (1 << 20), where);
    }
    const int64_t bytes = device_bytes(arenas, measured_.device_kind);
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

  const TrainStepSettings& settings_;
  int ranks_;
  const TrainStepMeasured& measured_;
  double step_s_ = 0, tokens_ = 0;
  nlohmann::ordered_json json_;
};

}  // namespace

nlohmann::ordered_json report(const TrainStepSettings& settings, int ranks,
                              const TrainStepMeasured& measured) {
  return Report(settings, ranks, measured).print();
}

}  // namespace leasehold
