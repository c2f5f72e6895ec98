#include "runtime/tensor/kernels_cpu_gemm.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <thread>
#include <vector>

#include "runtime/base/random.h"

namespace leasehold::cpu {

namespace {

std::vector<float> random_floats(int64_t count, uint64_t seed) {
  const RandomSite site = RandomSite::make(seed, "gemm");
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 2 * site.uniform(i) - 1;
  return values;
}

TEST(TileGrid, CoversTheProductOnce) {
  for (const int64_t M : {1, 63, 64, 65, 256, 1000, 2048, 50257}) {
    for (const int64_t N : {1, 31, 96, 768, 2304, 3072, 50257}) {
      for (const int64_t K : {1, 64, 768}) {
        const TileGrid grid = plan_tiles({.M = M, .N = N, .K = K});
        EXPECT_LT((grid.num_row_tiles - 1) * grid.rows, M);
        EXPECT_GE(grid.num_row_tiles * grid.rows, M);
        EXPECT_LT((grid.num_column_tiles - 1) * grid.columns, N);
        EXPECT_GE(grid.num_column_tiles * grid.columns, N);
      }
    }
  }
  EXPECT_EQ(plan_tiles({.M = 0, .N = 5, .K = 3}).count(), 0);
  EXPECT_EQ(plan_tiles({.M = 5, .N = 0, .K = 3}).count(), 0);
}

TEST(TileGrid, HasWorkForSeveralThreadsUnlessTheProductIsTiny) {
  EXPECT_EQ(plan_tiles({.M = 16, .N = 16, .K = 16}).count(), 1);
  EXPECT_GE(plan_tiles({.M = 256, .N = 768, .K = 768}).count(), 2);
  EXPECT_GE(plan_tiles({.M = 2048, .N = 3072, .K = 768}).count(), 4);
  EXPECT_GE(plan_tiles({.M = 256, .N = 50257, .K = 768}).count(), 16);
}

TEST(RunTiles, ComputesTheProductAndFinishesEveryTile) {
  ThreadPool pool(3);
  const int64_t M = 300, N = 290, K = 40;
  const auto a = random_floats(K * M, 1);
  const auto b = random_floats(K * N, 2);
  std::vector<float> c(static_cast<size_t>(M * N), 0.5F);
  std::vector<int> visits(c.size());
  Product product;
  product.transpose_a = Transpose::kYes;
  product.M = M, product.N = N, product.K = K;
  product.a = a.data(), product.lda = M;
  product.b = b.data(), product.ldb = N;
  product.beta = 1;
  product.c = c.data(), product.ldc = N;
  run_tiles(pool, product, [&](const Tile& tile) {
    for (int64_t row = tile.row; row < tile.row + tile.num_rows; ++row) {
      for (int64_t i = 0; i < tile.num_columns; ++i) {
        ++visits[static_cast<size_t>(row * N + tile.column + i)];
      }
    }
  });
  for (int64_t row = 0; row < M; ++row) {
    for (int64_t column = 0; column < N; ++column) {
      double expected = 0.5;
      for (int64_t k = 0; k < K; ++k) {
        expected += static_cast<double>(a[static_cast<size_t>(k * M + row)]) *
                    b[static_cast<size_t>(k * N + column)];
      }
      ASSERT_NEAR(c[static_cast<size_t>(row * N + column)], expected, 1e-5);
      ASSERT_EQ(visits[static_cast<size_t>(row * N + column)], 1);
    }
  }
}

struct Call {
  Transpose transpose_a, transpose_b;
  int64_t M, N, K;
};

// One product of random extents and leading dimensions against double, C poisoned where beta is 0.
// The largest error in units of fp32's rounding error per addition.
double error_of(const Call& call, float beta, uint64_t seed) {
  const auto [transpose_a, transpose_b, M, N, K] = call;
  const bool ta = transpose_a == Transpose::kYes;
  const bool tb = transpose_b == Transpose::kYes;
  const int64_t lda = (ta ? M : K) + static_cast<int64_t>(seed % 5);
  const int64_t ldb = (tb ? K : N) + static_cast<int64_t>(seed % 3);
  const int64_t ldc = N + static_cast<int64_t>(seed % 7);
  const auto a = random_floats((ta ? K : M) * lda, seed);
  const auto b = random_floats((tb ? N : K) * ldb, seed + 1);
  auto c = random_floats(M * ldc, seed + 2);
  const auto before = c;
  if (beta == 0) std::fill(c.begin(), c.end(), std::numeric_limits<float>::quiet_NaN());
  sgemm(transpose_a, transpose_b, M, N, K, 1.0F, a.data(), lda, b.data(), ldb, beta, c.data(), ldc);
  double worst = 0;
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = 0; n < N; ++n) {
      double expected = beta * static_cast<double>(before[static_cast<size_t>(m * ldc + n)]);
      for (int64_t k = 0; k < K; ++k) {
        expected += static_cast<double>(a[static_cast<size_t>(ta ? k * lda + m : m * lda + k)]) *
                    b[static_cast<size_t>(tb ? n * ldb + k : k * ldb + n)];
      }
      const double difference = std::abs(c[static_cast<size_t>(m * ldc + n)] - expected);
      if (!(difference <= HUGE_VAL)) return HUGE_VAL;  // NaN
      worst = std::max(worst, difference / (0x1p-24 * static_cast<double>(K + 1)));
    }
  }
  return worst;
}

// Some OpenBLAS releases are wrong on some parts, or when several threads call at once.
TEST(OpenBlas, IsRightForOddExtentsWithThreeThreadsCalling) {
  std::vector<double> worst(3);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < worst.size(); ++t) {
    threads.emplace_back([t, &worst] {
      const RandomSite site = RandomSite::make(17 + t, "extents");
      for (uint64_t i = 0; i < 120; ++i) {
        const auto draw = [&](uint64_t word, uint32_t limit) {
          return int64_t{1} + site.word(8 * i + word) % limit;
        };
        const Call call = {draw(0, 2) == 1 ? Transpose::kNo : Transpose::kYes,
                           draw(1, 2) == 1 ? Transpose::kNo : Transpose::kYes, draw(2, 90),
                           draw(3, 90), draw(4, 120)};
        const float beta = draw(5, 2) == 1 ? 0.0F : 1.0F;
        worst[t] = std::max(worst[t], error_of(call, beta, 100 * t + i));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const double error : worst) EXPECT_LT(error, 3.0);
}

}  // namespace

}  // namespace leasehold::cpu
