// The conformance suite's bounds find what they are for: each mutation here passed when a bf16
// element might differ by 1.6% of the largest one in its operand.
#include <algorithm>
#include <bit>
#include <cmath>
#include <gtest/gtest.h>

#include "runtime/device/cpu_device.h"
#include "tests/runtime/tensor/operation_cases.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {
namespace {

float rounded_to_bf16(double value) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  return std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000U);
}

// Checks every element against the bound of earlier versions.
bool passes_by_the_largest(const OperandResult& result, const OperandResult& reference) {
  double largest = 0;
  for (const double value : reference.values) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < result.values.size(); ++i) {
    const double tolerance = (1e-5 + 4 * 0x1p-8) * largest + 0x1p-8 * std::abs(reference.values[i]);
    if (std::abs(result.values[i] - reference.values[i]) > tolerance) return false;
  }
  return true;
}

class OperationBounds : public testing::Test {
 protected:
  // The case of that label, computed in bf16.
  void run(const std::vector<OperationCase>& cases, const std::string& label) {
    const auto found = std::ranges::find(cases, label, &OperationCase::label);
    ASSERT_NE(found, cases.end()) << label;
    auto device = CpuDevice::create({});
    auto kernels = create_cpu_kernels(*device, DType::kBf16);
    Backend backend{std::move(device), std::move(kernels)};
    Backend reference{CpuDevice::create({}), create_reference_kernels()};
    results_ = run_case(*found, backend, {.inputs = DType::kBf16});
    expected_ = run_reference(*found, reference, {.inputs = DType::kBf16});
    ASSERT_EQ(disagreement(results_, expected_), "");
  }

  // element = mutate(element, i) of an operand.
  template <typename Mutate>
  void mutate(const std::string& operand, Mutate&& mutate) {
    for (size_t k = 0; k < results_.size(); ++k) {
      if (results_[k].name != operand) continue;
      for (size_t i = 0; i < results_[k].values.size(); ++i)
        results_[k].values[i] = rounded_to_bf16(mutate(results_[k].values[i], i));
      EXPECT_TRUE(passes_by_the_largest(results_[k], expected_.results[k]));
    }
  }

  std::vector<OperandResult> results_;
  Expected expected_;
};

TEST_F(OperationBounds, FindAHundredthInOneOfThreeGradients) {
  constexpr int64_t kD = 33;  // of one head: its query, key and value
  for (const size_t slot : {0, 1, 2}) {
    run(attention_cases(), "B 1 T 260 G 1 R 1 D 33, dropout 0");
    mutate("dqkv",
           [&](double value, size_t i) { return i / kD % 3 == slot ? 1.01 * value : value; });
    const std::string found = disagreement(results_, expected_);
    EXPECT_NE(found.find("dqkv, part " + std::to_string(slot)), std::string::npos) << found;
  }
}

TEST_F(OperationBounds, FindASmallElementThatIsLost) {
  run(attention_cases(), "B 1 T 260 G 1 R 1 D 33, dropout 0");
  const std::vector<double> values = results_[2].values;
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  // Rows of late keys, which few queries see.
  mutate("dqkv", [&](double value, size_t i) {
    return i / 33 / 3 >= 258 && std::abs(value) < 0.01 * largest ? 0 : value;
  });
  EXPECT_NE(disagreement(results_, expected_), "");
}

TEST_F(OperationBounds, FindABiasThatIsAHundredthTooLarge) {
  run(linear_cases(), "N 200 K 70 O 260, bias");
  mutate("y", [](double value, size_t) { return 1.01 * value; });
  EXPECT_NE(disagreement(results_, expected_), "");
}

// An error of the size of a rounding, to one side.
TEST_F(OperationBounds, FindARoundingTowardsZeroTwice) {
  run(linear_cases(), "N 200 K 70 O 260, bias");
  mutate("y", [](double value, size_t) { return value * (1 - 0x1p-7); });
  EXPECT_NE(disagreement(results_, expected_), "");
}

}  // namespace
}  // namespace leasehold
