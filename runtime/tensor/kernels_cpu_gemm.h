// Matrix products of the CPU kernels: OpenBLAS, one thread per call, our pool around it. OpenBLAS
// gives other bits for other extents and thread counts, so a product is cut into tiles whose
// borders follow from its extents alone, and each tile is one single-threaded call. What belongs to
// a tile (bias, activation) is done while it lies in cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "runtime/base/thread_pool.h"

namespace leasehold::cpu {

enum class Transpose { kNo, kYes };

// C (M, N) = alpha op(A) (M, K) op(B) (K, N) + beta C, row-major with leading dimensions, on the
// calling thread. With beta 0, C is not read.
void sgemm(Transpose transpose_a, Transpose transpose_b, int64_t M, int64_t N, int64_t K,
           float alpha, const float* a, int64_t lda, const float* b, int64_t ldb, float beta,
           float* c, int64_t ldc);

// Operands as sgemm's, alpha 1.
struct Product {
  Transpose transpose_a = Transpose::kNo, transpose_b = Transpose::kNo;
  int64_t M = 0, N = 0, K = 0;
  const float* a = nullptr;
  int64_t lda = 0;
  const float* b = nullptr;
  int64_t ldb = 0;
  float beta = 0;
  float* c = nullptr;
  int64_t ldc = 0;
};
// How a product is cut: a pure function of its extents and transposes. Tiles are large, since every
// call packs its operands anew, but there are enough of them for a few threads where the product is
// not tiny.
struct TileGrid {
  int64_t rows = 0, columns = 0;  // of a tile; those at the far borders are smaller
  int64_t num_row_tiles = 0, num_column_tiles = 0;
  int64_t count() const { return num_row_tiles * num_column_tiles; }
};
// The largest tile.
struct TileLimits {
  int64_t rows = std::numeric_limits<int64_t>::max();
  int64_t columns = std::numeric_limits<int64_t>::max();
};
TileGrid plan_tiles(const Product& product, const TileLimits& limits = {});

struct Tile {
  int64_t row = 0, num_rows = 0;
  int64_t column = 0, num_columns = 0;
};

// Tile number `task` of an (M, N) result.
inline Tile tile_of(const TileGrid& grid, int64_t M, int64_t N, int64_t task) {
  Tile tile;
  tile.row = task / grid.num_column_tiles * grid.rows;
  tile.num_rows = std::min(grid.rows, M - tile.row);
  tile.column = task % grid.num_column_tiles * grid.columns;
  tile.num_columns = std::min(grid.columns, N - tile.column);
  return tile;
}

void compute_tile(const Product& product, const Tile& tile);

// Computes every tile of the product, each followed by epilogue(tile) on the same thread.
template <typename Epilogue>
void run_tiles(ThreadPool& pool, const Product& product, Epilogue&& epilogue) {
  const TileGrid grid = plan_tiles(product);
  pool.run(grid.count(), [&](int64_t task, int) {
    const Tile tile = tile_of(grid, product.M, product.N, task);
    compute_tile(product, tile);
    epilogue(tile);
  });
}

}  // namespace leasehold::cpu
