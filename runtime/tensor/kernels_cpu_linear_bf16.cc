// The linears of bf16: products in the workers' panels, rounded from there.
#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_gemm_bf16.h"
#include "runtime/tensor/kernels_cpu_linear.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

// Bias and activation of a tile in float; y and `pre` are rounded from what comes before.
void finish_forward(const LinearForward<Bf16>& work, const Tile& tile, const TileResult& result) {
  for (int64_t i = 0; i < tile.num_rows; ++i) {
    float* sum = result.data + i * result.stride;
    const int64_t row = tile.row + i;
    if (work.bias != nullptr) {
      const Bf16* bias = work.bias + tile.column;
      for (int64_t j = 0; j < tile.num_columns; ++j) sum[j] += load(bias[j]);
    }
    if (work.pre != nullptr) {
      Bf16* pre = work.pre + row * work.O + tile.column;
      for (int64_t j = 0; j < tile.num_columns; ++j) pre[j] = rounded<Bf16>(sum[j]);
    }
    Bf16* y = work.y + row * work.y_stride + tile.column;
    if (work.activation == Activation::kGelu) {
      for (int64_t j = 0; j < tile.num_columns; ++j) y[j] = rounded<Bf16>(gelu(sum[j]));
    } else {
      for (int64_t j = 0; j < tile.num_columns; ++j) y[j] = rounded<Bf16>(sum[j]);
    }
  }
}

void finish_backward_input(const LinearBackwardInput<Bf16>& work, const Tile& tile,
                           const TileResult& result) {
  for (int64_t i = 0; i < tile.num_rows; ++i) {
    const float* sum = result.data + i * result.stride;
    const int64_t begin = (tile.row + i) * work.K + tile.column;
    Bf16* dx = work.dx + begin;
    if (work.activation == Activation::kGelu) {
      const Bf16* pre = work.pre + begin;
      for (int64_t j = 0; j < tile.num_columns; ++j)
        dx[j] = rounded<Bf16>(sum[j] * gelu_derivative(load(pre[j])));
    } else if (work.write == Write::kAccumulate) {
      for (int64_t j = 0; j < tile.num_columns; ++j) dx[j] = rounded<Bf16>(load(dx[j]) + sum[j]);
    } else {
      for (int64_t j = 0; j < tile.num_columns; ++j) dx[j] = rounded<Bf16>(sum[j]);
    }
  }
}

}  // namespace

void run(ThreadPool& pool, const LinearForward<Bf16>& work) {
  Bf16Product product;
  product.transpose_b = Transpose::kYes;
  product.M = work.N, product.N = work.O, product.K = work.K;
  product.a = work.x, product.lda = work.K;
  product.b = work.weight, product.ldb = work.K;
  run_tiles(pool, product, work.panels, [&](const Tile& tile, const TileResult& result) {
    finish_forward(work, tile, result);
  });
}

void run(ThreadPool& pool, const LinearBackwardInput<Bf16>& work) {
  Bf16Product product;
  product.M = work.N, product.N = work.K, product.K = work.O;
  product.a = work.dy, product.lda = work.dy_stride;
  product.b = work.weight, product.ldb = work.K;
  run_tiles(pool, product, work.panels, [&](const Tile& tile, const TileResult& result) {
    finish_backward_input(work, tile, result);
  });
}

// The gradient is of float: its tiles are summed where they belong.
void run(ThreadPool& pool, const LinearBackwardWeight<Bf16>& work) {
  Bf16Product product;
  product.transpose_a = Transpose::kYes;
  product.M = work.O, product.N = work.K, product.K = work.N;
  product.a = work.dy, product.lda = work.dy_stride;
  product.b = work.x, product.ldb = work.K;
  const TileGrid grid = plan_tiles(product);
  pool.run(grid.count(), [&](int64_t task, int worker) {
    const Tile tile = tile_of(grid, product.M, product.N, task);
    compute_tile(product, tile, work.write, work.panels + worker * kPanelFloats,
                 {work.dweight + tile.row * work.K + tile.column, work.K});
    if (work.dbias != nullptr && tile.column == 0) sum_columns(work, tile.row, tile.num_rows);
  });
}

}  // namespace leasehold::cpu
