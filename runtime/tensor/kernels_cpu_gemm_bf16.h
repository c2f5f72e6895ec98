// Matrix products of bf16 operands with sums in float. Each tile's operands are converted, some of
// the summed extent at a time, into panels of fixed size that belong to the worker; products of
// panels are calls of sgemm, added up in float in ascending order. What is cut where follows from
// the extents alone.
#pragma once

#include <cstdint>

#include "runtime/base/thread_pool.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/kernels.h"
#include "runtime/tensor/kernels_cpu_gemm.h"

namespace leasehold::cpu {

// The largest tile, and how much of the summed extent is converted at a time.
constexpr int64_t kPanelRows = 256, kPanelColumns = 384, kPanelDepth = 384;
// Floats of a worker's panels: of both operands and of the result.
constexpr int64_t kPanelFloats =
    (kPanelRows + kPanelColumns) * kPanelDepth + kPanelRows * kPanelColumns;

// op(A) (M, K) op(B) (K, N), row-major with leading dimensions, as Product's.
struct Bf16Product {
  Transpose transpose_a = Transpose::kNo, transpose_b = Transpose::kNo;
  int64_t M = 0, N = 0, K = 0;
  const Bf16* a = nullptr;
  int64_t lda = 0;
  const Bf16* b = nullptr;
  int64_t ldb = 0;
};
TileGrid plan_tiles(const Bf16Product& product);

// A tile's result: element (i, j) at data[i * stride + j].
struct TileResult {
  float* data = nullptr;
  int64_t stride = 0;
};

// `into` = the tile of the product, or plus it. `panels`: kPanelFloats of the calling thread; the
// last part of them is `panel_result`.
void compute_tile(const Bf16Product& product, const Tile& tile, Write write, float* panels,
                  const TileResult& into);
inline TileResult panel_result(const Tile& tile, float* panels) {
  return {panels + (kPanelRows + kPanelColumns) * kPanelDepth, tile.num_columns};
}

// epilogue(tile, result) for every tile of the product, computed in the worker's panels, on the
// same thread. `panels`: kPanelFloats for each thread of the pool.
template <typename Epilogue>
void run_tiles(ThreadPool& pool, const Bf16Product& product, float* panels, Epilogue&& epilogue) {
  const TileGrid grid = plan_tiles(product);
  pool.run(grid.count(), [&](int64_t task, int worker) {
    const Tile tile = tile_of(grid, product.M, product.N, task);
    float* own = panels + worker * kPanelFloats;
    const TileResult result = panel_result(tile, own);
    compute_tile(product, tile, Write::kOverwrite, own, result);
    epilogue(tile, result);
  });
}

}  // namespace leasehold::cpu
