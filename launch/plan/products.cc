#include "launch/plan/products.h"

#include <algorithm>
#include <array>
#include <limits>

namespace leasehold {

namespace {

// Sizes of an output tile, and the speed of its inner loop against the largest one's: smaller tiles
// read their operands more often.
struct Tile {
  int64_t m;
  int64_t n;
  double share;
};
constexpr std::array<Tile, 3> kTiles = {{{256, 128, 1.0}, {128, 128, 0.93}, {128, 64, 0.80}}};

constexpr double kStartS = 3e-6;  // of a kernel whose launch is queued
constexpr double kMemoryShareOfProducts = 0.9;
constexpr double kOutputBytes = 2;

int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

double wave_share(int64_t m, int64_t n, int64_t tile_m, int64_t tile_n, int64_t units) {
  const int64_t tiles = divided_up(m, tile_m) * divided_up(n, tile_n);
  const int64_t waves = divided_up(tiles, units);
  const auto useful = static_cast<double>(m) * static_cast<double>(n);
  return useful / (static_cast<double>(waves * units) * static_cast<double>(tile_m * tile_n));
}

double product_s(const ProductShape& shape, Precision precision, const Hardware& hardware,
                 const StepMethod& method) {
  const auto m = static_cast<double>(shape.m);
  const auto n = static_cast<double>(shape.n);
  const auto k = static_cast<double>(shape.k);
  const double ceiling = hardware.products[precision];
  const double ramp =
      method.ramp_k * ceiling / static_cast<double>(hardware.units) / method.ramp_unit_flops;
  const double endless = ceiling * (1 + ramp / method.ceiling_k) * method.product_share;
  double share = 1;
  if (hardware.units > 1) {
    share = 0;
    for (const Tile& tile : kTiles) {
      share = std::max(share,
                       tile.share * wave_share(shape.m, shape.n, tile.m, tile.n, hardware.units));
    }
  }
  const double compute_s = 2 * m * n * (k + ramp) / (endless * share);
  const double bytes = (m * k + k * n) * element_bytes(precision) +
                       m * n * std::max(kOutputBytes, precision == Precision::kFp32 ? 4.0 : 0.0);
  const double memory_s = bytes / (hardware.memory_bytes_s * kMemoryShareOfProducts);
  return std::max(compute_s, memory_s) + (hardware.per_thread ? 0 : kStartS);
}

LinearTime linear_s(int64_t tokens, int64_t inputs, int64_t outputs, Precision precision,
                    const Hardware& hardware, const StepMethod& method) {
  const auto time = [&](int64_t m, int64_t n, int64_t k) {
    return product_s({m, n, k}, precision, hardware, method);
  };
  return {.forward_s = time(tokens, outputs, inputs),
          .backward_s = time(tokens, inputs, outputs) + time(inputs, outputs, tokens)};
}

}  // namespace leasehold
