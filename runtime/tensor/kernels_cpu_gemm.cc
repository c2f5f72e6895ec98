#include "runtime/tensor/kernels_cpu_gemm.h"

#include <cblas.h>
#include <limits>

namespace leasehold::cpu {

namespace {

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }
int64_t round_up(int64_t value, int64_t unit) { return ceil_divide(value, unit) * unit; }

// Time of one call in multiply-adds, fitted to OpenBLAS 0.3.21: packing the right operand costs as
// much as 50 more rows, packing the left as much as 35 more columns, and a call about two
// microseconds.
double tile_cost(int64_t rows, int64_t columns, int64_t depth) {
  const auto m = static_cast<double>(rows);
  const auto n = static_cast<double>(columns);
  return (m * n + 50 * n + 35 * m) * static_cast<double>(depth) + 2e5;
}

// Time of the whole product, weighted over the thread counts that we care for most.
double grid_cost(const TileGrid& grid, int64_t depth) {
  struct Case {
    int64_t threads;
    double weight;
  };
  constexpr Case kCases[] = {{1, 0.4}, {2, 0.5}, {4, 0.07}, {8, 0.03}};
  double rounds = 0;
  for (const Case& c : kCases) {
    rounds += c.weight * static_cast<double>(c.threads * ceil_divide(grid.count(), c.threads));
  }
  return rounds * tile_cost(grid.rows, grid.columns, depth);
}

}  // namespace

void sgemm(Transpose transpose_a, Transpose transpose_b, int64_t M, int64_t N, int64_t K,
           float alpha, const float* a, int64_t lda, const float* b, int64_t ldb, float beta,
           float* c, int64_t ldc) {
  const auto as_cblas = [](Transpose t) {
    return t == Transpose::kYes ? CblasTrans : CblasNoTrans;
  };
  cblas_sgemm(CblasRowMajor, as_cblas(transpose_a), as_cblas(transpose_b), static_cast<blasint>(M),
              static_cast<blasint>(N), static_cast<blasint>(K), alpha, a, static_cast<blasint>(lda),
              b, static_cast<blasint>(ldb), beta, c, static_cast<blasint>(ldc));
}

TileGrid plan_tiles(int64_t M, int64_t N, int64_t K) {
  TileGrid best;
  if (M == 0 || N == 0) return best;
  double best_cost = std::numeric_limits<double>::infinity();
  for (const int64_t most_rows : {64, 128, 192, 256, 384, 512, 768, 1024, 2048}) {
    for (const int64_t most_columns : {64, 128, 192, 256, 384, 512, 768, 1024, 1536}) {
      TileGrid grid;
      // Equal parts, rounded to what OpenBLAS computes at once.
      grid.rows = std::min(M, round_up(ceil_divide(M, ceil_divide(M, most_rows)), 16));
      grid.columns = std::min(N, round_up(ceil_divide(N, ceil_divide(N, most_columns)), 32));
      grid.num_row_tiles = ceil_divide(M, grid.rows);
      grid.num_column_tiles = ceil_divide(N, grid.columns);
      const double cost = grid_cost(grid, K);
      if (cost < best_cost) {
        best = grid;
        best_cost = cost;
      }
      if (most_columns >= N) break;
    }
    if (most_rows >= M) break;
  }
  return best;
}

void compute_tile(const Product& product, const Tile& tile) {
  const float* a =
      product.a + (product.transpose_a == Transpose::kYes ? tile.row : tile.row * product.lda);
  const float* b = product.b + (product.transpose_b == Transpose::kYes ? tile.column * product.ldb
                                                                       : tile.column);
  sgemm(product.transpose_a, product.transpose_b, tile.num_rows, tile.num_columns, product.K, 1.0F,
        a, product.lda, b, product.ldb, product.beta,
        product.c + tile.row * product.ldc + tile.column, product.ldc);
}

}  // namespace leasehold::cpu
