// Speed of every CPU kernel at the shapes of GPT-2 124M (12 layers, C 768, H 12, V 50257, tied
// head), against what bounds it: products against OpenBLAS on as many threads, called alternately;
// the rest as GB/s of the bytes that an operation must move, beside the bandwidth of an addition of
// large arrays. Times are medians.
#include "runtime/tensor/kernels.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/median.h"
#include "runtime/device/cpu_device.h"
#include "runtime/tensor/arena.h"
#include "runtime/tensor/blas/blas.h"

namespace leasehold {

namespace {

constexpr int64_t kLayers = 12, kC = 768, kH = 12, kD = 64, kV = 50257, kPositions = 1024;

struct Row {
  std::string name, shape;
  std::string formula;  // of `amount`
  double amount = 0;    // floating-point operations or bytes
  bool is_product = false;
  double seconds = 0;
  double rival_seconds = 0;  // OpenBLAS's own threads; 0: no rival
  double calls_per_step = 0;
};

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Bench {
 public:
  Bench(int num_threads, double seconds_per_row)
      : num_threads_(num_threads),
        seconds_per_row_(seconds_per_row),
        device_(CpuDevice::create({.num_threads = num_threads})),
        kernels_(create_cpu_kernels(*device_)),
        stream_(device_->create_stream("bench").value()),
        arena_(Arena::create(*device_, "bench", int64_t{3} << 30).value()) {}

  const std::vector<Row>& rows() const { return rows_; }
  std::string arithmetic_class() const { return kernels_->arithmetic_class(); }

  void bandwidth() {
    const int64_t count = int64_t{1} << 26;
    const Tensor left = filled({count}), right = filled({count}), out = filled({count});
    add({"add", fmt::format("{} elements", count), "12 n bytes", 12.0 * count},
        [&] { kernels_->add(*stream_, left, right, out); });
    add({"fill", fmt::format("{} elements", count), "4 n bytes", 4.0 * count},
        [&] { kernels_->fill(*stream_, out, 0); });
  }

  // The three products of a linear with N tokens: `activation` after it, `input_activation` before
  // it.
  void linear(const std::string& name, int64_t N, int64_t K, int64_t O, Activation activation,
              Activation input_activation, bool has_bias, double calls) {
    const Tensor x = filled({N, K}), weight = filled({O, K}), bias = filled({O});
    const Tensor y = filled({N, O}), pre = filled({N, O}), input_pre = filled({N, K});
    const std::string shape = fmt::format("N {} K {} O {}", N, K, O);
    const bool gelu = activation == Activation::kGelu;
    const auto row = [&](const char* part) {
      return Row{name + part, shape, "2 N K O flop", 2.0 * N * K * O, true, 0, 0, calls};
    };
    const Tensor no_bias = has_bias ? bias : Tensor();
    add_product(row(".forward"), CblasNoTrans, CblasTrans, N, O, K, x, weight, y, [&] {
      kernels_->linear_forward(*stream_, x, weight, no_bias, activation, gelu ? pre : Tensor(), y);
    });
    add_product(row(".input_gradient"), CblasNoTrans, CblasNoTrans, N, K, O, y, weight, x, [&] {
      const bool gelu_before = input_activation == Activation::kGelu;
      kernels_->linear_backward_input(*stream_, y, weight, input_activation,
                                      gelu_before ? input_pre : Tensor(), x, Write::kOverwrite);
    });
    add_product(row(".weight_gradient"), CblasTrans, CblasNoTrans, O, K, N, y, x, weight, [&] {
      kernels_->linear_backward_weight(*stream_, y, x, weight, no_bias, Write::kOverwrite);
    });
  }

  void norm(int64_t N, double calls) {
    const Tensor x = filled({N, kC}), delta = filled({N, kC}), sum = filled({N, kC});
    const Tensor weight = filled({kC}), y = filled({N, kC}), mean = filled({N}), rstd = filled({N});
    const Tensor dweight = filled({kC}), dbias = filled({kC});
    const Tensor workspace = bytes(kernels_->layer_norm_backward_workspace_bytes(N, kC));
    const std::string shape = fmt::format("N {} C {}", N, kC);
    add({"layer_norm.forward", shape, "16 N C bytes", 16.0 * N * kC, false, 0, 0, calls}, [&] {
      kernels_->layer_norm_forward(*stream_, x, delta, {}, sum, weight, weight, 1e-5, y, mean,
                                   rstd);
    });
    add({"layer_norm.backward", shape, "16 N C bytes", 16.0 * N * kC, false, 0, 0, calls}, [&] {
      kernels_->layer_norm_backward(*stream_, y, x, weight, mean, rstd, delta, delta, dweight,
                                    dbias, Write::kOverwrite, workspace);
    });
    const Dropout dropout = {0.1F, RandomSite::make(1, "bench"), 0};
    add({"residual_add.dropout", shape, "12 N C bytes", 12.0 * N * kC},
        [&] { kernels_->residual_add(*stream_, x, delta, dropout, sum); });
  }

  void embedding(int64_t B, int64_t T) {
    const int64_t N = B * T;
    const Tensor table = filled({kV, kC}), positions = filled({kPositions, kC});
    const Tensor out = filled({N, kC});
    const Tensor workspace = bytes(kernels_->embedding_backward_workspace_bytes(N, kV, kC));
    const Tensor tokens = ids(N).reshape({B, T});
    const std::string shape = fmt::format("B {} T {} V {} C {}", B, T, kV, kC);
    add({"embedding.forward", shape, "12 N C bytes", 12.0 * N * kC, false, 0, 0, 1},
        [&] { kernels_->embedding_forward(*stream_, tokens, table, positions, {}, out); });
    add({"embedding.backward", shape, "4 V C + 8 N C bytes", 4.0 * kV * kC + 8.0 * N * kC, false, 0,
         0, 1},
        [&] {
          kernels_->embedding_backward(*stream_, tokens, out, {}, table, positions,
                                       Write::kOverwrite, workspace);
        });
  }

  void attention(int64_t B, int64_t T) {
    const AttentionShape shape = {B, T, kH, 1, kD};
    const Tensor qkv = filled({B, T, kH, 3, kD}), dqkv = filled({B, T, kH, 3, kD});
    const Tensor out = filled({B, T, kH, kD}), log_sum_exp = filled({B, kH, T});
    const Tensor workspace = bytes(kernels_->attention_workspace_bytes(shape));
    const std::string label = fmt::format("B {} T {} H {} D {}", B, T, kH, kD);
    // Causal: T (T + 1) / 2 pairs of positions, 2 D flop a product; two products, and five back.
    const double product = 2.0 * B * kH * kD * T * (T + 1) / 2;
    add({"attention.forward", label, "2 B H D T (T + 1) flop", 2 * product, true, 0, 0, kLayers},
        [&] {
          kernels_->attention_forward(*stream_, shape, qkv, {}, out, log_sum_exp, workspace);
        });
    add({"attention.backward", label, "5 B H D T (T + 1) flop", 5 * product, true, 0, 0, kLayers},
        [&] {
          kernels_->attention_backward(*stream_, shape, out, qkv, out, log_sum_exp, {}, dqkv,
                                       workspace);
        });
  }

  void cross_entropy(int64_t N) {
    const Tensor logits = filled({N, kV}), targets = ids(N);
    const Tensor loss = arena_.allocate(DType::kF64, {1});
    const Tensor workspace = bytes(kernels_->cross_entropy_workspace_bytes(N, kV));
    add({"cross_entropy", fmt::format("N {} V {}", N, kV), "8 N V bytes", 8.0 * N * kV, false, 0, 0,
         1},
        [&] { kernels_->cross_entropy(*stream_, logits, targets, 1e-3F, loss, workspace); });
  }

  void optimizer(int64_t parameters) {
    // A part of the model, repeated: the arrays are far larger than any cache.
    const int64_t count = int64_t{1} << 25;
    const Tensor parameter = filled({count}), gradient = filled({count}), m = filled({count}),
                 v = filled({count});
    const Tensor sums = arena_.allocate(DType::kF64, {count / Kernels::kChunk});
    const AdamWStep step = {1e-4, 0.9, 0.95, 1e-8, 0.1, 0.1, 0.05, 0.25, 1.0};
    const double calls = static_cast<double>(parameters) / static_cast<double>(count);
    const std::string shape = fmt::format("{} of {} parameters", count, parameters);
    add({"squared_norms", shape, "4 n bytes", 4.0 * count, false, 0, 0, calls},
        [&] { kernels_->squared_norms(*stream_, gradient, 0.25F, sums); });
    add({"adamw", shape, "28 n bytes", 28.0 * count, false, 0, 0, calls},
        [&] { kernels_->adamw(*stream_, step, parameter, gradient, m, v); });
  }

  void release() { arena_.release_to(0); }

 private:
  Tensor filled(const Shape& shape) {
    const Tensor tensor = arena_.allocate(DType::kF32, shape);
    kernels_->fill(*stream_, tensor, 0.01F);
    return tensor;
  }
  Tensor bytes(int64_t count) { return arena_.allocate(DType::kU8, {count}); }
  Tensor ids(int64_t count) {
    const Tensor tensor = arena_.allocate(DType::kI32, {count});
    for (int64_t i = 0; i < count; ++i) {
      tensor.as<int32_t>()[i] = static_cast<int32_t>(i * i * 7919 % kV);
    }
    return tensor;
  }

  // The same product by OpenBLAS's own threads is the rival.
  void add_product(const Row& row, CBLAS_TRANSPOSE transpose_a, CBLAS_TRANSPOSE transpose_b,
                   int64_t M, int64_t N, int64_t K, Tensor a, Tensor b, Tensor c,
                   const std::function<void()>& call) {
    const int64_t lda = transpose_a == CblasTrans ? M : K;
    const int64_t ldb = transpose_b == CblasTrans ? K : N;
    add(row, call, [&] {
      blas::library().sgemm(CblasRowMajor, transpose_a, transpose_b, static_cast<blasint>(M),
                            static_cast<blasint>(N), static_cast<blasint>(K), 1, a.as<float>(),
                            static_cast<blasint>(lda), b.as<float>(), static_cast<blasint>(ldb), 0,
                            c.as<float>(), static_cast<blasint>(N));
    });
  }

  // Calls for a while and keeps the time of each call but the first, for which caches and threads
  // are cold.
  static void measure_block(const std::function<void()>& work, std::vector<double>& into) {
    constexpr double kBlockS = 0.03;
    work();
    const double end = now_s() + kBlockS;
    do {
      const double begin = now_s();
      work();
      into.push_back(now_s() - begin);
    } while (now_s() < end);
  }

  // Measures `call`, in turn with `rival` if there is one.
  void add(Row row, const std::function<void()>& call, const std::function<void()>& rival = {}) {
    std::vector<double> seconds, rival_seconds;
    const double end = now_s() + seconds_per_row_;
    while (seconds.size() < 5 || (now_s() < end && seconds.size() < 1000)) {
      measure_block(call, seconds);
      if (!rival) continue;
      blas::library().set_num_threads(num_threads_);
      measure_block(rival, rival_seconds);
      blas::library().set_num_threads(1);  // as the kernels need it
      // Its threads look for work for 2^26 cycles after a call, on the cores that ours need.
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    row.seconds = median(seconds);
    if (rival) row.rival_seconds = median(rival_seconds);
    throw_if_error(stream_->synchronize(Deadline::after_s(60)).annotated(row.name));
    rows_.push_back(row);
  }

  int num_threads_;
  double seconds_per_row_;
  std::unique_ptr<CpuDevice> device_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<Stream> stream_;
  Arena arena_;
  std::vector<Row> rows_;
};

void run_all(Bench& bench, int64_t B, int64_t T) {
  const int64_t N = B * T;
  bench.linear("qkv", N, kC, 3 * kC, Activation::kNone, Activation::kNone, true, kLayers);
  bench.linear("projection", N, kC, kC, Activation::kNone, Activation::kNone, true, kLayers);
  bench.linear("mlp_up", N, kC, 4 * kC, Activation::kGelu, Activation::kNone, true, kLayers);
  bench.linear("mlp_down", N, 4 * kC, kC, Activation::kNone, Activation::kGelu, true, kLayers);
  bench.release();
  bench.linear("head", N, kC, kV, Activation::kNone, Activation::kNone, false, 1);
  bench.release();
  bench.norm(N, 2 * kLayers + 1);
  bench.attention(B, T);
  bench.embedding(B, T);
  bench.release();
  bench.cross_entropy(N);
  bench.release();
  bench.optimizer(124'439'808);
  bench.release();
}

void print_table(const Bench& bench) {
  fmt::print("{}\n\n", bench.arithmetic_class());
  fmt::print("{:<28} {:<36} {:>9} {:>8} {:>7}  {:<24} {}\n", "operation", "shape", "ms", "rate", "",
             "of", "rate over OpenBLAS's threads");
  double products_s = 0, rivals_s = 0, others_s = 0;
  for (const Row& row : bench.rows()) {
    fmt::print(
        "{:<28} {:<36} {:>9.3f} {:>8.1f} {:>7}  {:<24} {}\n", row.name, row.shape,
        row.seconds * 1e3, row.amount / row.seconds * 1e-9, row.is_product ? "GFLOP/s" : "GB/s",
        row.formula,
        row.rival_seconds == 0 ? "" : fmt::format("{:.3f}", row.rival_seconds / row.seconds));
    (row.rival_seconds == 0 ? others_s : products_s) += row.calls_per_step * row.seconds;
    rivals_s += row.calls_per_step * row.rival_seconds;
  }
  fmt::print(
      "\nA training step of these calls: products {:.0f} ms (OpenBLAS's threads: {:.0f} ms), the "
      "rest "
      "{:.0f} ms; products over all: {:.2f}\n",
      products_s * 1e3, rivals_s * 1e3, others_s * 1e3, products_s / (products_s + others_s));
}

nlohmann::json to_json(const Bench& bench, int num_threads, int64_t B, int64_t T) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Row& row : bench.rows()) {
    rows.push_back({{"operation", row.name},
                    {"shape", row.shape},
                    {"formula", row.formula},
                    {"amount", row.amount},
                    {"seconds", row.seconds},
                    {"calls_per_step", row.calls_per_step}});
    if (row.rival_seconds != 0) rows.back()["openblas_threads_seconds"] = row.rival_seconds;
  }
  return {{"bench", "kernels"},
          {"threads", num_threads},
          {"sequences", B},
          {"sequence_length", T},
          {"arithmetic_class", bench.arithmetic_class()},
          {"rows", rows}};
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) {
  // OpenBLAS's threads spin for some 30 ms after a call, on a core that is ours in the next one: ours
  // then looks half as fast. The library reads this when it is opened.
  ::setenv("OPENBLAS_THREAD_TIMEOUT", "4", 0);
  int num_threads = 2;
  int64_t B = 4, T = 64;
  double seconds_per_row = 0.3;
  std::string json_path;
  CLI::App app("Speed of the CPU kernels at GPT-2 124M's shapes");
  app.add_option("--threads", num_threads, "Threads of the kernels and of OpenBLAS beside them")
      ->check(CLI::Range(1, 256));
  app.add_option("--sequences", B, "Sequences of a microbatch")->check(CLI::Range(1, 64));
  app.add_option("--sequence-length", T, "Tokens of a sequence")->check(CLI::Range(1, 1024));
  app.add_option("--seconds", seconds_per_row, "Time for one row; at least five calls are made")
      ->check(CLI::Range(0.0, 60.0));
  app.add_option("--json", json_path, "Also write the figures to this file");
  CLI11_PARSE(app, argc, argv);

  leasehold::Bench bench(num_threads, seconds_per_row);
  bench.bandwidth();
  bench.release();
  leasehold::run_all(bench, B, T);
  leasehold::print_table(bench);
  if (json_path.empty()) return 0;
  std::ofstream file(json_path);
  file << leasehold::to_json(bench, num_threads, B, T).dump(2) << "\n";
  file.close();
  if (file) return 0;
  fmt::print(stderr, "cannot write {}\n", json_path);
  return static_cast<int>(leasehold::Code::kStorage);
}
