#include "runtime/tensor/kernels_cpu_gemm.h"

#include <limits>

#include "runtime/tensor/blas/blas.h"

namespace leasehold::cpu {

namespace {

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }
int64_t round_up(int64_t value, int64_t unit) { return ceil_divide(value, unit) * unit; }

// Packing an operand costs a call as much as this many more rows or columns of C, and a call costs
// about two microseconds: fitted to OpenBLAS 0.3.21 over tiles of 64 x 96 to 2048 x 1536.
struct PackingCost {
  double right_rows, left_columns;
};
PackingCost packing_cost(const Product& product) {
  if (product.transpose_a == Transpose::kYes) return {45, 50};
  if (product.transpose_b == Transpose::kYes) return {30, 22};
  return {62, 22};
}

// Time of a grid in multiply-adds, weighted over the numbers of threads that we care for most.
double grid_cost(const Product& product, const TileGrid& grid) {
  struct Case {
    int64_t threads;
    double weight;
  };
  constexpr Case kCases[] = {{1, 0.4}, {2, 0.45}, {4, 0.1}, {8, 0.05}};
  double rounds = 0;
  for (const Case& c : kCases) {
    rounds += c.weight * static_cast<double>(c.threads * ceil_divide(grid.count(), c.threads));
  }
  const auto rows = static_cast<double>(grid.rows);
  const auto columns = static_cast<double>(grid.columns);
  const PackingCost packing = packing_cost(product);
  const double area = rows * columns + packing.right_rows * columns + packing.left_columns * rows;
  return rounds * (area * static_cast<double>(product.K) + 2e5);
}

}  // namespace

void sgemm(Transpose transpose_a, Transpose transpose_b, int64_t M, int64_t N, int64_t K,
           float alpha, const float* a, int64_t lda, const float* b, int64_t ldb, float beta,
           float* c, int64_t ldc) {
  const auto as_cblas = [](Transpose t) {
    return t == Transpose::kYes ? CblasTrans : CblasNoTrans;
  };
  blas::library().sgemm(CblasRowMajor, as_cblas(transpose_a), as_cblas(transpose_b),
                        static_cast<blasint>(M), static_cast<blasint>(N), static_cast<blasint>(K),
                        alpha, a, static_cast<blasint>(lda), b, static_cast<blasint>(ldb), beta, c,
                        static_cast<blasint>(ldc));
}

TileGrid plan_tiles(const Product& product, const TileLimits& limits) {
  const int64_t M = product.M, N = product.N;
  TileGrid best;
  if (M == 0 || N == 0) return best;
  double best_cost = std::numeric_limits<double>::infinity();
  for (const int64_t most_rows : {64, 128, 192, 256, 384, 512, 768, 1024, 2048}) {
    if (most_rows > limits.rows) break;
    for (const int64_t most_columns : {64, 128, 192, 256, 384, 512, 768, 1024, 1536}) {
      if (most_columns > limits.columns) break;
      TileGrid grid;
      // Equal parts, rounded to what OpenBLAS computes at once.
      grid.rows = std::min(M, round_up(ceil_divide(M, ceil_divide(M, most_rows)), 16));
      grid.columns = std::min(N, round_up(ceil_divide(N, ceil_divide(N, most_columns)), 32));
      grid.num_row_tiles = ceil_divide(M, grid.rows);
      grid.num_column_tiles = ceil_divide(N, grid.columns);
      const double cost = grid_cost(product, grid);
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
