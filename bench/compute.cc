#include "bench/compute.h"

#include "bench/device_peak.h"

namespace leasehold {

void add_compute_options(CLI::App& app, ComputeOptions& options) {
  app.add_option("--device", options.section.kind)
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--precision", options.section.precision)
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  app.add_option("--threads", options.section.threads, "Threads of a rank on the CPU")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--peak-tflops", options.peak_tflops,
                 "Peak of dense products in this precision, in place of the published one")
      ->check(CLI::PositiveNumber);
}

Peak find_peak(const ComputeOptions& options, const std::string& device_name) {
  const std::string& precision = options.section.precision;
  if (options.peak_tflops > 0) return {options.peak_tflops * 1e12, "--peak-tflops"};
  const auto published = find_device_peak(device_name);
  if (!published) {
    return {0, fmt::format("no peak of {} is known: --peak-tflops gives it", device_name)};
  }
  const double tflops = precision == "bf16" ? published->bf16_tflops : published->fp32_tflops;
  return {tflops * 1e12, fmt::format("published of {}, dense {}", published->part, precision)};
}

Result<ComputeDevice> make_compute(const ComputeOptions& options, const NodePlace& place) {
  if (options.section.kind == "cuda" && options.section.threads != DeviceSection().threads) {
    return error(Code::kBadConfig, "--threads {} are the CPU's: leave it out with --device cuda",
                 options.section.threads);
  }
  return make_device(options.section, place, 300);
}

}  // namespace leasehold
