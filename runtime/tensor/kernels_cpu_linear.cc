#include "runtime/tensor/kernels_cpu_linear.h"

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_gemm.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

// Adds the bias; with kGelu keeps that in `pre` (in a register only when absent) and activates into
// `y`.
void finish_forward(const LinearForward<float>& work, const Tile& tile) {
  if (work.bias == nullptr && work.activation == Activation::kNone) return;
  for (int64_t row = tile.row; row < tile.row + tile.num_rows; ++row) {
    const int64_t begin = row * work.O + tile.column;
    float* y = work.y + begin;
    float* pre = work.pre == nullptr ? y : work.pre + begin;
    if (work.bias != nullptr) {
      const float* bias = work.bias + tile.column;
#pragma GCC ivdep
      for (int64_t i = 0; i < tile.num_columns; ++i) pre[i] += bias[i];
    }
    if (work.activation == Activation::kGelu) {
#pragma GCC ivdep
      for (int64_t i = 0; i < tile.num_columns; ++i) y[i] = gelu(pre[i]);
    }
  }
}

}  // namespace

void run(ThreadPool& pool, const LinearForward<float>& work) {
  Product product;
  product.transpose_b = Transpose::kYes;
  product.M = work.N, product.N = work.O, product.K = work.K;
  product.a = work.x, product.lda = work.K;
  product.b = work.weight, product.ldb = work.K;
  product.c = work.activation == Activation::kGelu && work.pre != nullptr ? work.pre : work.y,
  product.ldc = work.y_stride;
  run_tiles(pool, product, [&](const Tile& tile) { finish_forward(work, tile); });
}

void run(ThreadPool& pool, const LinearBackwardInput<float>& work) {
  Product product;
  product.M = work.N, product.N = work.K, product.K = work.O;
  product.a = work.dy, product.lda = work.dy_stride;
  product.b = work.weight, product.ldb = work.K;
  product.c = work.dx, product.ldc = work.K;
  product.beta = work.write == Write::kAccumulate ? 1.0F : 0.0F;
  run_tiles(pool, product, [&](const Tile& tile) {
    if (work.activation != Activation::kGelu) return;
    for (int64_t row = tile.row; row < tile.row + tile.num_rows; ++row) {
      float* dx = work.dx + row * work.K + tile.column;
      const float* pre = work.pre + row * work.K + tile.column;
#pragma GCC ivdep
      for (int64_t i = 0; i < tile.num_columns; ++i) dx[i] *= gelu_derivative(pre[i]);
    }
  });
}

void run(ThreadPool& pool, const LinearBackwardWeight<float>& work) {
  Product product;
  product.transpose_a = Transpose::kYes;
  product.M = work.O, product.N = work.K, product.K = work.N;
  product.a = work.dy, product.lda = work.dy_stride;
  product.b = work.x, product.ldb = work.K;
  product.c = work.dweight, product.ldc = work.K;
  product.beta = work.write == Write::kAccumulate ? 1.0F : 0.0F;
  run_tiles(pool, product, [&](const Tile& tile) {
    if (work.dbias != nullptr && tile.column == 0) sum_columns(work, tile.row, tile.num_rows);
  });
}

}  // namespace leasehold::cpu
