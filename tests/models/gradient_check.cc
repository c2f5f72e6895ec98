#include "tests/models/gradient_check.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <set>

namespace leasehold {

namespace {

constexpr int64_t kElementsPerTensor = 24;
constexpr double kStep = 1e-5;
constexpr double kRelative = 1e-6;
constexpr double kAbsolute = 1e-8;
constexpr double kNearlyZero = 1e-5;

std::set<int64_t> choose_elements(int64_t count, uint64_t seed) {
  std::set<int64_t> chosen;
  const auto site = RandomSite::make(seed, "expect_gradient");
  for (int64_t i = 0; static_cast<int64_t>(chosen.size()) < std::min(count, kElementsPerTensor);
       ++i) {
    chosen.insert(count <= kElementsPerTensor
                      ? i
                      : static_cast<int64_t>(site.word(static_cast<uint64_t>(i))) % count);
  }
  return chosen;
}

double weighted_sum(Tensor values, Tensor weights) {
  double sum = 0;
  for (int64_t i = 0; i < values.num_elements(); ++i)
    sum += element(values, i) * element(weights, i);
  return sum;
}

void copy(Tensor from, Tensor to) {
  for (int64_t i = 0; i < from.num_elements(); ++i) set_element(to, i, element(from, i));
}

}  // namespace

void expect_gradient(const std::string& what, Tensor value, Tensor gradient,
                     const std::function<double()>& objective, uint64_t seed) {
  double largest = 0;
  for (const int64_t i : choose_elements(value.num_elements(), seed)) {
    const double old = element(value, i);
    set_element(value, i, old + kStep);
    const double above = objective();
    set_element(value, i, old - kStep);
    const double below = objective();
    set_element(value, i, old);
    const double expected = (above - below) / (2 * kStep);
    largest = std::max(largest, std::abs(expected));
    EXPECT_NEAR(element(gradient, i), expected, kAbsolute + kRelative * std::abs(expected))
        << what << " element " << i << " (seed " << seed << ")";
  }
  EXPECT_GT(largest, kNearlyZero) << what << ": nothing was tested (seed " << seed << ")";
}

void expect_gradients_of_layer(ModuleHarness& harness, const Shape& shape, bool in_place,
                               uint64_t seed) {
  const Tensor input = harness.random_tensor(shape, seed);
  const Tensor weights = harness.random_tensor(shape, seed + 1);
  const Tensor output = harness.tensor(harness.kernels().dtype(), shape);
  const Tensor output_gradient = harness.tensor(harness.kernels().dtype(), shape);
  const Tensor input_gradient =
      in_place ? output_gradient : harness.tensor(harness.kernels().dtype(), shape);
  copy(weights, output_gradient);
  harness.forward_backward(input, output, output_gradient, input_gradient);
  if (!in_place) {
    EXPECT_EQ(elements(output_gradient), elements(weights)) << "the output gradient was changed";
  }

  const auto objective = [&] {
    harness.forward(input, output);
    return weighted_sum(output, weights);
  };
  expect_gradient("input", input, input_gradient, objective, seed);
  for (const ParameterUse& use : harness.module().uses()) {
    expect_gradient(use.parameter->name(), use.parameter->value(),
                    use.parameter->gradient(use.slot), objective, seed);
  }
}

void expect_gradients_of_model(ModuleHarness& harness, uint64_t seed) {
  harness.forward_backward({}, {}, {}, {});
  const auto objective = [&] {
    harness.forward({}, {});
    return harness.mean_loss();
  };
  for (const auto& parameter : harness.parameters().all()) {
    const Tensor sum = harness.tensor(harness.kernels().dtype(), parameter->local_shape());
    for (int slot = 0; slot < parameter->spec().num_gradient_slots; ++slot) {
      for (int64_t i = 0; i < sum.num_elements(); ++i) {
        set_element(sum, i, element(sum, i) + element(parameter->gradient(slot), i));
      }
    }
    expect_gradient(parameter->name(), parameter->value(), sum, objective, seed);
  }
}

}  // namespace leasehold
