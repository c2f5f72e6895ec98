#include "runtime/tensor/kernels_cpu_gemm_bf16.h"

#include "runtime/tensor/kernels_cpu_elements.h"

namespace leasehold::cpu {

namespace {

// Of an operand's panel: rows [row, row + rows) of the operand as it lies, columns likewise.
void convert(const Bf16* from, int64_t ld, int64_t row, int64_t rows, int64_t column,
             int64_t columns, float* panel) {
  as_floats(from + row * ld + column, ld, rows, columns, panel);
}

}  // namespace

TileGrid plan_tiles(const Bf16Product& product) {
  return plan_tiles(Product{.transpose_a = product.transpose_a,
                            .transpose_b = product.transpose_b,
                            .M = product.M,
                            .N = product.N,
                            .K = product.K},
                    TileLimits{kPanelRows, kPanelColumns});
}

void compute_tile(const Bf16Product& product, const Tile& tile, Write write, float* panels,
                  const TileResult& into) {
  float* a = panels;
  float* b = panels + kPanelRows * kPanelDepth;
  const bool a_turned = product.transpose_a == Transpose::kYes;
  const bool b_turned = product.transpose_b == Transpose::kYes;
  for (int64_t k = 0; k < product.K; k += kPanelDepth) {
    const int64_t depth = std::min(kPanelDepth, product.K - k);
    if (a_turned) {
      convert(product.a, product.lda, k, depth, tile.row, tile.num_rows, a);
    } else {
      convert(product.a, product.lda, tile.row, tile.num_rows, k, depth, a);
    }
    if (b_turned) {
      convert(product.b, product.ldb, tile.column, tile.num_columns, k, depth, b);
    } else {
      convert(product.b, product.ldb, k, depth, tile.column, tile.num_columns, b);
    }
    const float beta = k > 0 || write == Write::kAccumulate ? 1.0F : 0.0F;
    sgemm(product.transpose_a, product.transpose_b, tile.num_rows, tile.num_columns, depth, 1.0F, a,
          a_turned ? tile.num_rows : depth, b, b_turned ? depth : tile.num_columns, beta, into.data,
          into.stride);
  }
}

}  // namespace leasehold::cpu
