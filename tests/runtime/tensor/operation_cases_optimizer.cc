#include <cmath>
#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

constexpr double kF32Rounding = 0x1p-24;

OperationCase squared_norms_case(int64_t count, float scale) {
  OperationCase result;
  result.operation = "squared_norms";
  result.label = fmt::format("{} elements, scale {}", count, scale);
  const int64_t num_chunks = (count + Kernels::kChunk - 1) / Kernels::kChunk;
  result.operands = {{"x", Role::kInput, {count}, Element::kState},
                     {"sums", Role::kOutput, {num_chunks}, Element::kF64}};
  result.call = [scale](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.squared_norms(stream, t["x"], scale, t["sums"]);
  };
  return result;
}

OperationCase adamw_case(int64_t count, const AdamWStep& step, const std::string& label) {
  OperationCase result;
  result.operation = "adamw";
  result.label = fmt::format("{} elements, {}", count, label);
  const auto positive = [](int64_t i) { return 1e-3 * static_cast<double>(1 + i * 7919 % 997); };
  result.operands = {{"parameter", Role::kInPlace, {count}, Element::kState},
                     {"gradient", Role::kInput, {count}, Element::kState},
                     {"m", Role::kInPlace, {count}, Element::kState},
                     {"v", Role::kInPlace, {count}, Element::kState, positive}};
  result.call = [step](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.adamw(stream, step, t["parameter"], t["gradient"], t["m"], t["v"]);
  };
  return result;
}

// Element by element: magnitudes of what is added, of numbers that may be tiny.
void add_adamw_terms(OperationCase& operation, const AdamWStep& step) {
  operation.terms = [step](Kernels&, Stream&, const Operands& t) {
    const int64_t count = t["parameter"].num_elements();
    for (int64_t i = 0; i < count; ++i) {
      double& p = t["parameter"].as<double>()[i];
      double& m = t["m"].as<double>()[i];
      double& v = t["v"].as<double>()[i];
      const double g = std::abs(t["gradient"].as<double>()[i]) * step.gradient_scale *
                       step.clip_scale;
      m = step.beta1 * std::abs(m) + (1 - step.beta1) * g;
      v = step.beta2 * v + (1 - step.beta2) * g * g;
      // The error of a root whose v is too small for all of its digits.
      const double least = 0x1p-149 / kF32Rounding;
      const double root = std::sqrt(v / step.correction2) + step.eps;
      const double wrong = std::sqrt((v + least) / step.correction2) + step.eps;
      p = std::abs(p) + step.lr * m / step.correction1 / root * (wrong / root);
      m += least, v += least;
    }
  };
}

// Values as a long run meets them: most gradients gone, some large, moments that are denormal.
OperationCase long_run_case(int64_t count, const AdamWStep& step, const std::string& label) {
  OperationCase result = adamw_case(count, step, label);
  result.operands[1].value = [](int64_t i) {
    constexpr double kGradients[] = {0, 1e-3, -1e-12, 1e-25, -3e4, 1e15, 1e-38};
    return kGradients[i % 7];
  };
  result.operands[2].value = [](int64_t i) {
    constexpr double kMoments[] = {0, 1e-4, -1e-20, 1e-40};
    return kMoments[i % 4];
  };
  result.operands[3].value = [](int64_t i) {
    constexpr double kSquares[] = {1e-40, 1e-6, 0, 1e-30, 3e-45};
    return kSquares[i % 5];
  };
  add_adamw_terms(result, step);
  return result;
}

}  // namespace

std::vector<OperationCase> optimizer_cases() {
  std::vector<OperationCase> cases;
  const AdamWStep first = {1e-1, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 1.0, 1.0};
  const AdamWStep later = {3e-2, 0.9, 0.95, 1e-6, 0.0, 0.9, 0.6, 0.125, 0.7};
  // Step 10^6: the corrections of bias are 1.
  const AdamWStep millionth = {6e-5, 0.9,
                               0.95, 1e-8,
                               0.1,  1 - std::pow(0.9, 1e6),
                               1 - std::pow(0.95, 1e6),
                               0.125, 0.7};
  const AdamWStep slow = {6e-5, 0.9,
                          0.999, 1e-8,
                          0.1,  1 - std::pow(0.9, 20),
                          1 - std::pow(0.999, 20),
                          1,    1};
  cases.push_back(long_run_case(141, millionth, "step 10^6"));
  cases.push_back(long_run_case(141, slow, "step 20, denormal"));
  for (const int64_t count : {1, 7, 4096, 4097, 33001}) {
    cases.push_back(squared_norms_case(count, 1.0F));
    cases.push_back(squared_norms_case(count, 0.37F));
    cases.push_back(adamw_case(count, first, "first step, decay"));
    cases.push_back(adamw_case(count, later, "later step, no decay, scaled"));
  }
  return cases;
}

}  // namespace leasehold
