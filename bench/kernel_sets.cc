// The matrix products of a training step of GPT-2 124M (or other sizes) by each kernel set of
// OpenBLAS that this machine can use, by the set that Leasehold chooses and by the one that the
// library would choose, all in turns in one process. Under mpirun every rank measures, at once.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/median.h"
#include "bench/model_bench.h"
#include "bench/products.h"
#include "launch/compose.h"
#include "runtime/base/clock.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/tensor/blas/blas.h"

namespace leasehold {

namespace {

struct KernelSetsSettings {
  ModelConfig model{.layers = 12, .hidden = 768, .heads = 12, .sequence = 64, .vocab = 50257};
  int64_t tokens = 256;
  int64_t threads = 2;
  int64_t rounds = 5;
  std::string json_path;
};

struct Contender {
  std::string label;
  std::string asked;  // "": the library's own choice
  std::string used;   // what the library says it uses
  std::vector<double> seconds;
};

class KernelSetsBench {
 public:
  KernelSetsBench(const KernelSetsSettings& settings, ProcessGroup& processes)
      : settings_(settings), world_(processes.world()) {}

  Status run() {
    LEASEHOLD_RETURN_IF_ERROR(prepare());
    constexpr int64_t kTrialRounds = 3;
    size_t count = contenders_.size();
    for (int64_t round = 0; round < settings_.rounds; ++round) {
      if (round == kTrialRounds) count = order_by_speed();
      LEASEHOLD_RETURN_IF_ERROR(measure_round(static_cast<size_t>(round), count));
    }
    return world_.rank() == 0 ? report() : ok_status();
  }

 private:
  // The first `count`, each once; who begins changes from round to round.
  Status measure_round(size_t round, size_t count) {
    for (size_t turn = 0; turn < count; ++turn) {
      Contender& contender = contenders_[(turn + round) % count];
      LEASEHOLD_ASSIGN_OR_RETURN(const double seconds, measure(contender));
      contender.seconds.push_back(seconds);
    }
    return ok_status();
  }

  static double fastest_s(const Contender& contender) {
    return *std::ranges::min_element(contender.seconds);
  }

  // Puts those in front that are to be measured further, and returns how many: not those that took
  // half as long again as the fastest.
  size_t order_by_speed() {
    double least_s = HUGE_VAL;
    for (const Contender& contender : contenders_)
      least_s = std::min(least_s, fastest_s(contender));
    const auto slow = std::stable_partition(
        contenders_.begin(), contenders_.end(),
        [&](const Contender& contender) { return fastest_s(contender) < 1.5 * least_s; });
    return static_cast<size_t>(slow - contenders_.begin());
  }

  Status prepare() {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto offered, blas::offered_kernel_sets());
    std::vector<std::string> sets = offered.sets;
    if (sets.empty()) sets.emplace_back("");
    for (const std::string& set : sets) {
      LEASEHOLD_ASSIGN_OR_RETURN(const std::string used, blas::open_library(set));
      // Not in this build of the library.
      if (!set.empty() && used != set) continue;
      if (contenders_.empty()) contenders_.push_back({"chosen by Leasehold", used, used, {}});
      contenders_.push_back({"forced", used, used, {}});
    }
    processor_ = offered.processor;
    contenders_.push_back({"chosen by the library", "", "", {}});
    LEASEHOLD_ASSIGN_OR_RETURN(compute_,
                               make_device({.threads = settings_.threads}, NodePlace{}, 300));
    LEASEHOLD_ASSIGN_OR_RETURN(stream_, compute_.device->create_stream("bench"));
    products_.emplace(settings_.model, settings_.tokens, *compute_.device, *compute_.kernels,
                      *stream_);
    return ok_status();
  }

  Result<double> measure(Contender& contender) {
    // An open library would be kept where any will do.
    if (contender.asked.empty()) blas::close_library();
    LEASEHOLD_ASSIGN_OR_RETURN(contender.used, blas::open_library(contender.asked));
    products_->run();  // what a library does once is not counted
    LEASEHOLD_RETURN_IF_ERROR(stream_->synchronize(Deadline::after_s(600)));
    LEASEHOLD_RETURN_IF_ERROR(barrier(world_, *stream_, Deadline::after_s(600)));
    const double begin_s = clock_.steady_s();
    products_->run();
    LEASEHOLD_RETURN_IF_ERROR(stream_->synchronize(Deadline::after_s(600)));
    // Rank 0's time on every rank: all take the same decisions by it.
    LEASEHOLD_ASSIGN_OR_RETURN(
        const std::string text,
        broadcast_bytes(world_, *stream_, fmt::format("{}", clock_.steady_s() - begin_s), 0,
                        Deadline::after_s(600)));
    return std::stod(text);
  }

  Status report() {
    // On a busy machine the fastest round of many says more than the median.
    double least_s = median(contenders_.front().seconds), least_fastest_s = HUGE_VAL;
    for (const Contender& contender : contenders_) {
      least_s = std::min(least_s, median(contender.seconds));
      least_fastest_s = std::min(least_fastest_s, fastest_s(contender));
    }
    fmt::print("{}; {}; products of {} tokens, {} ranks x {} threads, {} rounds\n\n", processor_,
               blas::library().config.substr(0, blas::library().config.find(" ", 9)),
               settings_.tokens, world_.size(), settings_.threads, settings_.rounds);
    fmt::print("{:<22} {:<16} {:>7} {:>10} {:>9} {:>12} {:>14}\n", "kernel set", "", "rounds", "ms",
               "GFLOP/s", "of the best", "by the fastest");
    nlohmann::json rows = nlohmann::json::array();
    for (const Contender& contender : contenders_) {
      const double seconds = median(contender.seconds);
      fmt::print("{:<22} {:<16} {:>7} {:>10.1f} {:>9.1f} {:>12.3f} {:>14.3f}\n", contender.label,
                 contender.used, contender.seconds.size(), seconds * 1e3,
                 products_->flops() / seconds * 1e-9, least_s / seconds,
                 least_fastest_s / fastest_s(contender));
      rows.push_back({{"label", contender.label},
                      {"kernel_set", contender.used},
                      {"seconds", contender.seconds},
                      {"of_best", least_s / seconds},
                      {"of_best_by_fastest", least_fastest_s / fastest_s(contender)}});
    }
    if (settings_.json_path.empty()) return ok_status();
    const nlohmann::json json = {{"bench", "kernel_sets"},     {"processor", processor_},
                                 {"ranks", world_.size()},     {"threads", settings_.threads},
                                 {"tokens", settings_.tokens}, {"rows", rows}};
    std::ofstream file(settings_.json_path);
    file << json.dump(2) << "\n";
    file.close();
    return file ? ok_status() : error(Code::kStorage, "cannot write {}", settings_.json_path);
  }

  const KernelSetsSettings& settings_;
  Communicator& world_;
  Clock& clock_ = system_clock();
  std::string processor_;
  std::vector<Contender> contenders_;
  ComputeDevice compute_;
  std::unique_ptr<Stream> stream_;
  std::optional<Products> products_;
};

int run(int argc, char** argv) {
  KernelSetsSettings settings;
  CLI::App app("Times a step's matrix products by each kernel set of OpenBLAS.", "kernel_sets");
  add_model_options(app, settings.model);
  app.add_option("--tokens", settings.tokens, "Of a microbatch")->capture_default_str();
  app.add_option("--threads", settings.threads, "Of a rank")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--rounds", settings.rounds)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--json", settings.json_path, "File for the figures");
  return run_model_bench(app, settings.model, argc, argv, [&](ProcessGroup& processes) {
    return KernelSetsBench(settings, processes).run();
  });
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) { return leasehold::run(argc, argv); }
