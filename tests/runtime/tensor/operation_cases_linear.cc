#include <cmath>
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

// A copy of an input with the magnitudes of its elements, for a reference's call.
class Magnitudes {
 public:
  explicit Magnitudes(const Tensor& from) : values_(static_cast<size_t>(from.num_elements())) {
    if (!from.present()) return;
    const int64_t columns = from.dim(from.shape().num_dims() - 1);
    for (int64_t i = 0; i < from.num_elements(); ++i) {
      const int64_t place = from.is_dense() ? i : i / columns * from.row_stride() + i % columns;
      values_[static_cast<size_t>(i)] = std::abs(from.as<double>()[place]);
    }
    tensor_ = {values_.data(), DType::kF64, from.shape()};
  }
  Tensor tensor() const { return tensor_; }

 private:
  std::vector<double> values_;
  Tensor tensor_;
};

// The magnitudes of `tensor` in place, times `factor`.
void take_magnitudes(const Tensor& tensor, double factor = 1) {
  if (!tensor.present()) return;
  const int64_t columns = tensor.dim(tensor.shape().num_dims() - 1);
  for (int64_t i = 0; i < tensor.num_elements(); ++i) {
    const int64_t place = tensor.is_dense() ? i : i / columns * tensor.row_stride() + i % columns;
    double& value = tensor.as<double>()[place];
    value = std::abs(value) * factor;
  }
}

// The steepest slope of GELU: what is off before it is off by at most this times as much after it.
constexpr double kGeluSlope = 1.13;

// Linears on GPUs may round the product itself to bf16, before a bias, GELU or what it is added to.
void add_forward_bounds(OperationCase& operation, bool has_bias, Activation activation) {
  const double slope = activation == Activation::kGelu ? kGeluSlope : 1;
  operation.terms = [slope](Kernels& kernels, Stream& stream, const Operands& t) {
    const Magnitudes x(t["x"]), weight(t["weight"]), bias(t["bias"]);
    kernels.linear_forward(stream, x.tensor(), weight.tensor(), bias.tensor(), Activation::kNone,
                           {}, t["y"]);
    if (t["pre"].present()) {
      kernels.linear_forward(stream, x.tensor(), weight.tensor(), bias.tensor(), Activation::kNone,
                             {}, t["pre"]);
    }
    take_magnitudes(t["y"], slope);
  };
  if (!has_bias && activation == Activation::kNone) return;
  operation.rounded_inside = [=](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.linear_forward(stream, t["x"], t["weight"], {}, Activation::kNone, {}, t["y"]);
    take_magnitudes(t["y"], slope);
    if (!t["pre"].present()) return;
    kernels.linear_forward(stream, t["x"], t["weight"], {}, Activation::kNone, {}, t["pre"]);
    take_magnitudes(t["pre"], has_bias ? 1 : 0);
  };
}

void add_backward_input_bounds(OperationCase& operation, Activation activation, Write write) {
  operation.terms = [=](Kernels& kernels, Stream& stream, const Operands& t) {
    const Magnitudes dy(t["dy"]), weight(t["weight"]);
    take_magnitudes(t["dx"]);
    kernels.linear_backward_input(stream, dy.tensor(), weight.tensor(), Activation::kNone, {},
                                  t["dx"], write);
    if (activation == Activation::kGelu) take_magnitudes(t["dx"], kGeluSlope);
  };
  if (activation == Activation::kNone && write == Write::kOverwrite) return;
  operation.rounded_inside = [=](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.linear_backward_input(stream, t["dy"], t["weight"], activation, t["pre"], t["dx"],
                                  Write::kOverwrite);
    take_magnitudes(t["dx"]);
  };
}

void add_backward_weight_bounds(OperationCase& operation, Write write) {
  operation.terms = [write](Kernels& kernels, Stream& stream, const Operands& t) {
    const Magnitudes dy(t["dy"]), x(t["x"]);
    take_magnitudes(t["dweight"]);
    take_magnitudes(t["dbias"]);
    kernels.linear_backward_weight(stream, dy.tensor(), x.tensor(), t["dweight"], t["dbias"],
                                   write);
  };
}

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
  if (has_bias) result.operands.push_back({"bias", Role::kInput, {O}});
  if (has_pre) {
    result.operands.push_back({"pre", Role::kOutput, {N, O}});
  }
  add_forward_bounds(result, has_bias, activation);
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
  add_backward_input_bounds(result, activation, write);
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
  add_backward_weight_bounds(result, write);
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
