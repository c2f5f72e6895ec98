#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

enum class Targets { kAll, kSome, kNone };

OperationCase cross_entropy_case(int64_t N, int64_t V, float gradient_scale, Targets targets) {
  OperationCase result;
  result.operation = "cross_entropy";
  result.label = fmt::format("N {} V {}, scale {}, targets {}", N, V, gradient_scale,
                             static_cast<int>(targets));
  const auto target = [V, targets](int64_t row) {
    const bool left_out = targets == Targets::kNone || (targets == Targets::kSome && row % 3 == 1);
    return left_out ? -1.0 : static_cast<double>(row * 7919 % V);
  };
  // Rows far from zero: the exponentials overflow unless the maximum is taken off.
  const auto logit = [V](int64_t i) {
    return 200.0 * static_cast<double>(i / V % 3 - 1) +
           0.01 * static_cast<double>((i * 7919) % 1409 - 704);
  };
  const bool in_place = gradient_scale != 0;
  result.operands = {
      {"logits", in_place ? Role::kInPlace : Role::kInput, {N, V}, Element::kCompute, logit},
      {"targets", Role::kInput, {N}, Element::kI32, target},
      {"loss", Role::kOutput, {1}, Element::kF64},
      {.name = "workspace",
       .role = Role::kWorkspace,
       .workspace_bytes = [N, V](const Kernels& kernels) {
         return kernels.cross_entropy_workspace_bytes(N, V);
       }}};
  result.call = [gradient_scale](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.cross_entropy(stream, t["logits"], t["targets"], gradient_scale, t["loss"],
                          t["workspace"]);
  };
  return result;
}

}  // namespace

std::vector<OperationCase> cross_entropy_cases() {
  std::vector<OperationCase> cases;
  for (const auto& [N, V] :
       {std::pair<int64_t, int64_t>{1, 1}, {1, 257}, {5, 33}, {17, 1025}, {300, 256}, {3, 50257}}) {
    cases.push_back(cross_entropy_case(N, V, 0, Targets::kAll));
    cases.push_back(cross_entropy_case(N, V, 1.0F, Targets::kAll));
    cases.push_back(cross_entropy_case(N, V, 0.125F, Targets::kSome));
    cases.push_back(cross_entropy_case(N, V, 0, Targets::kSome));
    cases.push_back(cross_entropy_case(N, V, 1.0F, Targets::kNone));
  }
  return cases;
}

}  // namespace leasehold
