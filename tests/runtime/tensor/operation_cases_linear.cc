#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

struct LinearExtents {
  int64_t N, K, O;
};
// A scalar, odd sizes, one row, one column, a block and around it, one cut into several tiles, and
// sums that are cut (over K, over N, over O).
constexpr LinearExtents kLinearExtents[] = {{1, 1, 1},      {7, 5, 3},      {1, 64, 48},
                                            {33, 65, 129},  {64, 64, 64},   {5, 300, 1},
                                            {200, 70, 260}, {390, 400, 33}, {7, 20, 401}};

const char* label_of(Write write) {
  return write == Write::kAccumulate ? "accumulate" : "overwrite";
}
Role role_of(Write write) { return write == Write::kAccumulate ? Role::kInPlace : Role::kOutput; }
// Values that reach the bends of GELU and its flat ends.
double wide(int64_t i) { return 0.37 * static_cast<double>(i % 61 - 30); }

OperationCase forward_case(const LinearExtents& e, bool has_bias, Activation activation,
                           bool has_pre) {
  const auto [N, K, O] = e;
  OperationCase result;
  result.operation = "linear_forward";
  result.label =
      fmt::format("N {} K {} O {}{}{}{}", N, K, O, has_bias ? ", bias" : "",
                  activation == Activation::kGelu ? ", gelu" : "", has_pre ? ", pre" : "");
  result.operands = {
      {"x", Role::kInput, {N, K}}, {"weight", Role::kInput, {O, K}}, {"y", Role::kOutput, {N, O}}};
  result.operands.back().inner_roundings = has_bias || activation == Activation::kGelu;
  if (has_bias) result.operands.push_back({"bias", Role::kInput, {O}});
  if (has_pre) {
    result.operands.push_back({"pre", Role::kOutput, {N, O}});
    result.operands.back().inner_roundings = has_bias;
  }
  result.call = [activation](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.linear_forward(stream, t["x"], t["weight"], t["bias"], activation, t["pre"], t["y"]);
  };
  return result;
}

OperationCase backward_input_case(const LinearExtents& e, Activation activation, Write write) {
  const auto [N, K, O] = e;
  OperationCase result;
  result.operation = "linear_backward_input";
  result.label = fmt::format("N {} K {} O {}, {}{}", N, K, O, label_of(write),
                             activation == Activation::kGelu ? ", gelu" : "");
  result.operands = {{"dy", Role::kInput, {N, O}},
                     {"weight", Role::kInput, {O, K}},
                     {"dx", role_of(write), {N, K}}};
  result.operands.back().inner_roundings =
      activation == Activation::kGelu || write == Write::kAccumulate;
  if (activation == Activation::kGelu) {
    result.operands.push_back({"pre", Role::kInput, {N, K}, Element::kCompute, wide});
  }
  result.call = [activation, write](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.linear_backward_input(stream, t["dy"], t["weight"], activation, t["pre"], t["dx"],
                                  write);
  };
  return result;
}

OperationCase backward_weight_case(const LinearExtents& e, bool has_bias, Write write) {
  const auto [N, K, O] = e;
  OperationCase result;
  result.operation = "linear_backward_weight";
  result.label =
      fmt::format("N {} K {} O {}, {}{}", N, K, O, label_of(write), has_bias ? ", bias" : "");
  result.operands = {{"dy", Role::kInput, {N, O}},
                     {"x", Role::kInput, {N, K}},
                     {"dweight", role_of(write), {O, K}, Element::kState}};
  if (has_bias) result.operands.push_back({"dbias", role_of(write), {O}, Element::kState});
  result.call = [write](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.linear_backward_weight(stream, t["dy"], t["x"], t["dweight"], t["dbias"], write);
  };
  return result;
}

// The same with the rows of the output, or of its gradient, further apart: what a head asks for.
OperationCase with_gap(OperationCase operation, const std::string& name, int64_t row_gap) {
  for (Operand& operand : operation.operands) {
    if (operand.name == name) operand.row_gap = row_gap;
  }
  operation.label += fmt::format(", rows of {} {} apart", name, row_gap);
  return operation;
}

}  // namespace

std::vector<OperationCase> linear_cases() {
  std::vector<OperationCase> cases;
  for (const LinearExtents& extents : kLinearExtents) {
    cases.push_back(forward_case(extents, false, Activation::kNone, false));
    cases.push_back(forward_case(extents, true, Activation::kNone, false));
    cases.push_back(forward_case(extents, true, Activation::kGelu, true));
    cases.push_back(forward_case(extents, true, Activation::kGelu, false));
    cases.push_back(forward_case(extents, false, Activation::kGelu, true));
    cases.push_back(backward_input_case(extents, Activation::kGelu, Write::kOverwrite));
    for (const Write write : {Write::kOverwrite, Write::kAccumulate}) {
      cases.push_back(backward_input_case(extents, Activation::kNone, write));
      cases.push_back(backward_weight_case(extents, true, write));
      cases.push_back(backward_weight_case(extents, false, write));
      for (const int64_t row_gap : {(extents.O + 63) / 64 * 64 - extents.O, int64_t{3}}) {
        cases.push_back(
            with_gap(backward_input_case(extents, Activation::kNone, write), "dy", row_gap));
        cases.push_back(with_gap(backward_weight_case(extents, false, write), "dy", row_gap));
      }
    }
    for (const int64_t row_gap : {(extents.O + 63) / 64 * 64 - extents.O, int64_t{3}}) {
      cases.push_back(
          with_gap(forward_case(extents, false, Activation::kNone, false), "y", row_gap));
    }
  }
  // One wide row through the activation's whole range: K = 1 makes y = gelu(x weight).
  OperationCase bends = forward_case({1, 1, 601}, false, Activation::kGelu, true);
  bends.label += ", wide";
  bends.operands[0].value = [](int64_t) { return 1.0; };
  bends.operands[1].value = [](int64_t i) { return 0.05 * static_cast<double>(i - 300); };
  cases.push_back(bends);
  return cases;
}

}  // namespace leasehold
