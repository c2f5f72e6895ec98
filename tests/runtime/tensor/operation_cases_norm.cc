#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

// Layer norm, or RMS norm, which has neither bias nor mean.
enum class Kind { kLayer, kRms };

constexpr double kEps[] = {1e-5, 0.3};  // usual, and large enough to be missed

std::string operation_name(Kind kind, const std::string& part) {
  return (kind == Kind::kLayer ? "layer_norm_" : "rms_norm_") + part;
}

Dropout dropout_of(float p, int64_t first_element) {
  return {p, RandomSite::make(7, "conformance", 3, 5), first_element};
}

// Off-centre rows, so that the mean matters.
double shifted(int64_t i) { return 3.0 + 0.01 * static_cast<double>((i * 7919) % 997 - 498); }

void run_forward(Kind kind, Kernels& kernels, Stream& stream, const Operands& t, Tensor x,
                 Tensor delta, const Dropout& dropout, Tensor sum, double eps) {
  if (kind == Kind::kLayer) {
    kernels.layer_norm_forward(stream, x, delta, dropout, sum, t["weight"], t["bias"], eps, t["y"],
                               t["mean"], t["rstd"]);
  } else {
    kernels.rms_norm_forward(stream, x, delta, dropout, sum, t["weight"], eps, t["y"], t["rstd"]);
  }
}

// What both directions need of both kinds.
std::vector<Operand> forward_operands(Kind kind, int64_t N, int64_t C) {
  std::vector<Operand> operands = {{"weight", Role::kInput, {C}},
                                   {"y", Role::kOutput, {N, C}},
                                   {"rstd", Role::kOutput, {N}, Element::kState}};
  if (kind == Kind::kRms) return operands;
  operands.push_back({"bias", Role::kInput, {C}});
  operands.push_back({"mean", Role::kOutput, {N}, Element::kState});
  return operands;
}

// Which of x and delta receives the sum too: neither, x or delta.
enum class Alias { kNone, kX, kDelta };

OperationCase forward_case(Kind kind, int64_t N, int64_t C, bool has_delta, const Dropout& dropout,
                           Alias alias, double eps = kEps[0]) {
  OperationCase result;
  result.operation = operation_name(kind, "forward");
  result.label = fmt::format("N {} C {}{}, dropout {} from {}, alias {}, eps {}", N, C,
                             has_delta ? ", delta" : "", dropout.p, dropout.first_element,
                             static_cast<int>(alias), eps);
  const auto role = [&](Alias here) { return alias == here ? Role::kInPlace : Role::kInput; };
  result.operands = forward_operands(kind, N, C);
  if (has_delta) {
    for (Operand& operand : result.operands)
      operand.inner_roundings = operand.role == Role::kOutput;
  }
  result.operands.push_back({"x", role(Alias::kX), {N, C}, Element::kCompute, shifted});
  if (has_delta) result.operands.push_back({"delta", role(Alias::kDelta), {N, C}});
  if (has_delta && alias == Alias::kNone) result.operands.push_back({"sum", Role::kOutput, {N, C}});
  result.call = [=](Kernels& kernels, Stream& stream, const Operands& t) {
    const Tensor sum = alias == Alias::kX ? t["x"] : alias == Alias::kDelta ? t["delta"] : t["sum"];
    run_forward(kind, kernels, stream, t, t["x"], t["delta"], dropout, sum, eps);
  };
  return result;
}

// dx alone, on top of dresidual, or in the memory of either.
enum class Target { kAlone, kResidual, kInResidual, kInDy };

OperationCase backward_case(Kind kind, int64_t N, int64_t C, Target target, Write write,
                            double eps = kEps[0]) {
  const Role gradient = write == Write::kAccumulate ? Role::kInPlace : Role::kOutput;
  OperationCase result;
  result.operation = operation_name(kind, "backward");
  result.label = fmt::format("N {} C {}, dx {}, {}, eps {}", N, C, static_cast<int>(target),
                             write == Write::kAccumulate ? "accumulate" : "overwrite", eps);
  // Forward first: it makes the statistics.
  result.operands = forward_operands(kind, N, C);
  const std::vector<Operand> more = {
      {"dy", target == Target::kInDy ? Role::kInPlace : Role::kInput, {N, C}},
      {"input", Role::kInput, {N, C}, Element::kCompute, shifted},
      {"dweight", gradient, {C}, Element::kState},
      {.name = "workspace",
       .role = Role::kWorkspace,
       .workspace_bytes = [=](const Kernels& kernels) {
         return kind == Kind::kLayer ? kernels.layer_norm_backward_workspace_bytes(N, C)
                                     : kernels.rms_norm_backward_workspace_bytes(N, C);
       }}};
  result.operands.insert(result.operands.end(), more.begin(), more.end());
  if (kind == Kind::kLayer) result.operands.push_back({"dbias", gradient, {C}, Element::kState});
  if (target == Target::kResidual) result.operands.push_back({"dresidual", Role::kInput, {N, C}});
  if (target == Target::kInResidual)
    result.operands.push_back({"dresidual", Role::kInPlace, {N, C}});
  if (target == Target::kAlone || target == Target::kResidual) {
    result.operands.push_back({"dx", Role::kOutput, {N, C}});
  }
  result.call = [=](Kernels& kernels, Stream& stream, const Operands& t) {
    run_forward(kind, kernels, stream, t, t["input"], {}, {}, {}, eps);
    const Tensor dx = target == Target::kInDy         ? t["dy"]
                      : target == Target::kInResidual ? t["dresidual"]
                                                      : t["dx"];
    if (kind == Kind::kLayer) {
      kernels.layer_norm_backward(stream, t["dy"], t["input"], t["weight"], t["mean"], t["rstd"],
                                  t["dresidual"], dx, t["dweight"], t["dbias"], write,
                                  t["workspace"]);
    } else {
      kernels.rms_norm_backward(stream, t["dy"], t["input"], t["weight"], t["rstd"], t["dresidual"],
                                dx, t["dweight"], write, t["workspace"]);
    }
  };
  return result;
}

std::vector<OperationCase> norm_cases(Kind kind) {
  std::vector<OperationCase> cases;
  for (const auto& [N, C] : {std::pair<int64_t, int64_t>{1, 8}, {3, 33}, {37, 768}, {130, 257}}) {
    cases.push_back(forward_case(kind, N, C, false, {}, Alias::kNone));
    for (const Alias alias : {Alias::kNone, Alias::kX, Alias::kDelta}) {
      cases.push_back(forward_case(kind, N, C, true, {}, alias));
      cases.push_back(forward_case(kind, N, C, true, dropout_of(0.3F, 5), alias));
    }
    for (const Write write : {Write::kOverwrite, Write::kAccumulate}) {
      for (const Target target :
           {Target::kAlone, Target::kResidual, Target::kInResidual, Target::kInDy}) {
        cases.push_back(backward_case(kind, N, C, target, write));
      }
    }
  }
  cases.push_back(forward_case(kind, 5, 24, false, {}, Alias::kNone, kEps[1]));
  cases.push_back(backward_case(kind, 5, 24, Target::kAlone, Write::kOverwrite, kEps[1]));
  // More rows than the implementations' blocks sum at once.
  cases.push_back(backward_case(kind, 1500, 16, Target::kAlone, Write::kOverwrite));
  // Rows for which the gains' sums fit into a GPU's shared memory if it is asked for, or not at
  // all.
  for (const int64_t C : {8192, 24584})
    cases.push_back(backward_case(kind, 3, C, Target::kResidual, Write::kOverwrite));
  return cases;
}

}  // namespace

std::vector<OperationCase> layer_norm_cases() { return norm_cases(Kind::kLayer); }
std::vector<OperationCase> rms_norm_cases() { return norm_cases(Kind::kRms); }

}  // namespace leasehold
