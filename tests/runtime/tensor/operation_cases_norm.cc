#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

Dropout dropout_of(float p, int64_t first_element) {
  return {p, RandomSite::make(7, "conformance", 3, 5), first_element};
}

// Off-centre rows, so that the mean matters.
double shifted(int64_t i) { return 3.0 + 0.01 * static_cast<double>((i * 7919) % 997 - 498); }

// Which of x and delta receives the sum too: neither, x or delta.
enum class Alias { kNone, kX, kDelta };

OperationCase forward_case(int64_t N, int64_t C, bool has_delta, const Dropout& dropout,
                           Alias alias) {
  OperationCase result;
  result.operation = "layer_norm_forward";
  result.label =
      fmt::format("N {} C {}{}, dropout {} from {}, alias {}", N, C, has_delta ? ", delta" : "",
                  dropout.p, dropout.first_element, static_cast<int>(alias));
  const auto role = [&](Alias here) { return alias == here ? Role::kInPlace : Role::kInput; };
  result.operands = {{"x", role(Alias::kX), {N, C}, Element::kCompute, shifted},
                     {"weight", Role::kInput, {C}},
                     {"bias", Role::kInput, {C}},
                     {"y", Role::kOutput, {N, C}},
                     {"mean", Role::kOutput, {N}, Element::kState},
                     {"rstd", Role::kOutput, {N}, Element::kState}};
  if (has_delta) result.operands.push_back({"delta", role(Alias::kDelta), {N, C}});
  if (has_delta && alias == Alias::kNone) result.operands.push_back({"sum", Role::kOutput, {N, C}});
  result.call = [dropout, alias](Kernels& kernels, Stream& stream, const Operands& t) {
    const Tensor sum = alias == Alias::kX ? t["x"] : alias == Alias::kDelta ? t["delta"] : t["sum"];
    kernels.layer_norm_forward(stream, t["x"], t["delta"], dropout, sum, t["weight"], t["bias"],
                               t["y"], t["mean"], t["rstd"]);
  };
  return result;
}

// dx alone, on top of dresidual, or in the memory of either.
enum class Target { kAlone, kResidual, kInResidual, kInDy };

OperationCase backward_case(int64_t N, int64_t C, Target target, Write write) {
  const Role gradient = write == Write::kAccumulate ? Role::kInPlace : Role::kOutput;
  OperationCase result;
  result.operation = "layer_norm_backward";
  result.label = fmt::format("N {} C {}, target {}, {}", N, C, static_cast<int>(target),
                             write == Write::kAccumulate ? "accumulate" : "overwrite");
  // Forward first: it makes the statistics.
  result.operands = {{"dy", target == Target::kInDy ? Role::kInPlace : Role::kInput, {N, C}},
                     {"input", Role::kInput, {N, C}, Element::kCompute, shifted},
                     {"weight", Role::kInput, {C}},
                     {"y", Role::kOutput, {N, C}},
                     {"mean", Role::kOutput, {N}, Element::kState},
                     {"rstd", Role::kOutput, {N}, Element::kState},
                     {"dweight", gradient, {C}},
                     {"dbias", gradient, {C}},
                     {.name = "workspace",
                      .role = Role::kWorkspace,
                      .workspace_bytes = [N, C](const Kernels& kernels) {
                        return kernels.layer_norm_backward_workspace_bytes(N, C);
                      }}};
  if (target == Target::kResidual) result.operands.push_back({"dresidual", Role::kInput, {N, C}});
  if (target == Target::kInResidual)
    result.operands.push_back({"dresidual", Role::kInPlace, {N, C}});
  if (target == Target::kAlone || target == Target::kResidual) {
    result.operands.push_back({"dx", Role::kOutput, {N, C}});
  }
  result.call = [target, write](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.layer_norm_forward(stream, t["input"], {}, {}, {}, t["weight"], t["weight"], t["y"],
                               t["mean"], t["rstd"]);
    const Tensor dx = target == Target::kInDy         ? t["dy"]
                      : target == Target::kInResidual ? t["dresidual"]
                                                      : t["dx"];
    kernels.layer_norm_backward(stream, t["dy"], t["input"], t["weight"], t["mean"], t["rstd"],
                                t["dresidual"], dx, t["dweight"], t["dbias"], write,
                                t["workspace"]);
  };
  return result;
}

}  // namespace

std::vector<OperationCase> layer_norm_cases() {
  std::vector<OperationCase> cases;
  for (const auto& [N, C] : {std::pair<int64_t, int64_t>{1, 8}, {3, 33}, {37, 768}, {130, 257}}) {
    cases.push_back(forward_case(N, C, false, {}, Alias::kNone));
    for (const Alias alias : {Alias::kNone, Alias::kX, Alias::kDelta}) {
      cases.push_back(forward_case(N, C, true, {}, alias));
      cases.push_back(forward_case(N, C, true, dropout_of(0.3F, 5), alias));
    }
    for (const Write write : {Write::kOverwrite, Write::kAccumulate}) {
      for (const Target target :
           {Target::kAlone, Target::kResidual, Target::kInResidual, Target::kInDy}) {
        cases.push_back(backward_case(N, C, target, write));
      }
    }
  }
  // More rows than the implementations' blocks sum at once.
  cases.push_back(backward_case(1500, 16, Target::kAlone, Write::kOverwrite));
  return cases;
}

}  // namespace leasehold
