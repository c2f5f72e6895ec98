#include "tests/runtime/tensor/extreme_activations.h"

#include <cmath>
#include <gtest/gtest.h>

namespace leasehold {

namespace {

// Around both ends of the CPU's exp_f32, around the point where the integers in it wrap, and far
// outside.
const std::vector<double> kMagnitudes = {80,     86.5,  87.25, 87.5, 88,    88.5,    89,
                                         104,    128,   1e3,   1e4,  8.7e6, 1.0e7,   1.74e7,
                                         1.75e7, 3.3e7, 1e9,   1e20, 1e29,  HUGE_VAL};

// Every magnitude up to `largest`, and infinity, with both signs.
std::vector<double> inputs(double largest) {
  std::vector<double> all;
  for (const double magnitude : kMagnitudes) {
    if (magnitude > largest && !std::isinf(magnitude)) continue;
    all.push_back(magnitude);
    all.push_back(-magnitude);
  }
  return all;
}

OperationCase swiglu_case(const std::vector<double>& gates) {
  const auto F = static_cast<int64_t>(gates.size());
  OperationCase result;
  result.operation = "swiglu";
  result.label = "extreme gates";
  const auto one = [](int64_t) { return 1.0; };
  const auto gate_or_one = [=](int64_t i) { return i < F ? gates[static_cast<size_t>(i)] : 1.0; };
  result.operands = {{"gate_up", Role::kInput, {1, 2 * F}, Element::kCompute, gate_or_one},
                     {"dy", Role::kInput, {1, F}, Element::kCompute, one},
                     {"y", Role::kOutput, {1, F}},
                     {"dgate_up", Role::kOutput, {1, 2 * F}}};
  result.call = [](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.swiglu_forward(stream, t["gate_up"], t["y"]);
    kernels.swiglu_backward(stream, t["dy"], t["gate_up"], t["dgate_up"]);
  };
  return result;
}

// A product with one is the input itself.
OperationCase gelu_case(const std::vector<double>& values) {
  const auto N = static_cast<int64_t>(values.size());
  OperationCase result;
  result.operation = "linear";
  result.label = "extreme inputs of gelu";
  const auto one = [](int64_t) { return 1.0; };
  const auto value = [=](int64_t i) { return values[static_cast<size_t>(i)]; };
  result.operands = {{"x", Role::kInput, {N, 1}, Element::kCompute, value},
                     {"weight", Role::kInput, {1, 1}, Element::kCompute, one},
                     {"dy", Role::kInput, {N, 1}, Element::kCompute, one},
                     {"pre", Role::kOutput, {N, 1}},
                     {"y", Role::kOutput, {N, 1}},
                     {"dx", Role::kOutput, {N, 1}}};
  result.call = [](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.linear_forward(stream, t["x"], t["weight"], {}, Activation::kGelu, t["pre"], t["y"]);
    kernels.linear_backward_input(stream, t["dy"], t["weight"], Activation::kGelu, t["pre"],
                                  t["dx"], Write::kOverwrite);
  };
  return result;
}

// Expects x for a positive input, about 0 for a negative one, and slopes of 1 and 0.
void expect_sound(const std::vector<double>& x, const OperandResult& y,
                  const OperandResult& slope) {
  const double rounding = y.dtype == DType::kBf16 ? 0x1p-7 : 0x1p-20;
  for (size_t i = 0; i < x.size(); ++i) {
    SCOPED_TRACE(testing::Message()
                 << x[i] << " gives " << y.values[i] << " and the slope " << slope.values[i]);
    if (std::isinf(x[i])) {
      EXPECT_FALSE(std::isfinite(y.values[i]));
      EXPECT_FALSE(std::isfinite(slope.values[i]));
      continue;
    }
    const double expected = x[i] > 0 ? x[i] : 0;
    EXPECT_NEAR(y.values[i], expected, rounding * expected + 1e-8);
    EXPECT_NEAR(slope.values[i], x[i] > 0 ? 1 : 0, 1e-6);
  }
}

}  // namespace

void expect_sound_extremes(Backend& backend) {
  const DType dtype = backend.kernels->dtype();
  {
    SCOPED_TRACE("swiglu");
    const std::vector<double> x = inputs(1e29);
    const auto results = run_case(swiglu_case(x), backend, {.inputs = dtype});
    ASSERT_EQ(results.size(), 2U);
    expect_sound(x, results[0], results[1]);
  }
  {
    SCOPED_TRACE("gelu");
    const std::vector<double> x = inputs(1e9);  // the cubes of larger ones overflow
    const auto results = run_case(gelu_case(x), backend, {.inputs = dtype});
    ASSERT_EQ(results.size(), 3U);
    expect_sound(x, results[1], results[2]);
  }
}

}  // namespace leasehold
