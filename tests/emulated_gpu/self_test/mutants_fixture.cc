#include "tests/emulated_gpu/self_test/mutants_fixture.h"

namespace leasehold::self_test {

bool MutantsTest::block_sums_are_right(Fault fault) {
  constexpr int kBlocks = 3;
  constexpr int kN = kBlocks * 256;
  cudaStream_t on = stream();
  auto* out = device<float>(kN);
  block_sums(fault, counting(kN), out, kBlocks, on);
  const auto sums = host(out, kN, on);
  for (int i = 0; i < kN; ++i) {
    const int block = i / 256;
    const auto once = static_cast<float>(256 * 256 * block + 255 * 256 / 2);
    if (sums[i] != 3 * once + 3 * 256) return false;
  }
  return true;
}

bool MutantsTest::reversed_twice_is_right(Fault fault) {
  constexpr int kN = 256;
  cudaStream_t on = stream();
  auto* out = device<float>(kN);
  reverse_twice(fault, counting(kN), out, 1, on);
  const auto copied = host(out, kN, on);
  for (int i = 0; i < kN; ++i) {
    if (copied[i] != static_cast<float>(i)) return false;
  }
  return true;
}

bool MutantsTest::streams_are_right(Missing missing) {
  constexpr int64_t kN = 4096;
  constexpr int kWork = 20;
  cudaStream_t producer = stream();
  cudaStream_t consumer = stream();
  cudaEvent_t produced = event();
  cudaEvent_t consumed = event();
  auto* in = counting(kN);
  auto* buffer = device<float>(kN);
  auto* out = device<float>(kN * 2);
  for (int round = 0; round < 2; ++round) {
    if (round > 0 && missing != Missing::kWaitForConsumer) {
      EXPECT_EQ(cudaStreamWaitEvent(producer, consumed, 0), cudaSuccess);
    }
    add_one(round == 0 ? in : out, buffer, kN, kWork, producer);
    if (round == 0 || missing != Missing::kRecord) {
      EXPECT_EQ(cudaEventRecord(produced, producer), cudaSuccess);
    }
    if (missing != Missing::kWaitForProducer) {
      EXPECT_EQ(cudaStreamWaitEvent(consumer, produced, 0), cudaSuccess);
    }
    add_one(buffer, out + round * kN, kN, kWork, consumer);
    EXPECT_EQ(cudaEventRecord(consumed, consumer), cudaSuccess);
  }
  std::vector<float> read(kN * 2, -1.0F);
  EXPECT_EQ(
      cudaMemcpyAsync(read.data(), out, read.size() * sizeof(float), cudaMemcpyDefault, consumer),
      cudaSuccess);
  std::vector<float> seen;
  if (missing == Missing::kHostWait) seen = read;
  EXPECT_EQ(cudaStreamSynchronize(consumer), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(producer), cudaSuccess);
  if (missing != Missing::kHostWait) seen = read;
  for (int64_t i = 0; i < kN; ++i) {
    if (seen[i] != static_cast<float>(i + 2)) return false;
    if (seen[kN + i] != static_cast<float>(i + 4)) return false;
  }
  return true;
}

}  // namespace leasehold::self_test
