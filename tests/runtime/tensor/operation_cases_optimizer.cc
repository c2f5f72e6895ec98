#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

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

}  // namespace

std::vector<OperationCase> optimizer_cases() {
  std::vector<OperationCase> cases;
  const AdamWStep first = {1e-1, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 1.0, 1.0};
  const AdamWStep later = {3e-2, 0.9, 0.95, 1e-6, 0.0, 0.9, 0.6, 0.125, 0.7};
  for (const int64_t count : {1, 7, 4096, 4097, 33001}) {
    cases.push_back(squared_norms_case(count, 1.0F));
    cases.push_back(squared_norms_case(count, 0.37F));
    cases.push_back(adamw_case(count, first, "first step, decay"));
    cases.push_back(adamw_case(count, later, "later step, no decay, scaled"));
  }
  return cases;
}

}  // namespace leasehold
