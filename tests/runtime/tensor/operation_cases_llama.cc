#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

// From -16 to 16: both ends of silu.
double gates(int64_t i) { return 0.02 * static_cast<double>((i * 7919) % 1601 - 800); }

OperationCase swiglu_case(int64_t N, int64_t F, bool in_place) {
  OperationCase result;
  result.operation = "swiglu";
  result.label = fmt::format("N {} F {}{}", N, F, in_place ? ", in place" : "");
  result.operands = {
      {"gate_up", in_place ? Role::kInPlace : Role::kInput, {N, 2 * F}, Element::kCompute, gates},
      {"dy", Role::kInput, {N, F}},
      {"y", Role::kOutput, {N, F}}};
  if (!in_place) result.operands.push_back({"dgate_up", Role::kOutput, {N, 2 * F}});
  result.call = [in_place](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.swiglu_forward(stream, t["gate_up"], t["y"]);
    kernels.swiglu_backward(stream, t["dy"], t["gate_up"], t[in_place ? "gate_up" : "dgate_up"]);
  };
  return result;
}

OperationCase rotary_case(const AttentionShape& shape, const Rotary& rotary, bool backward) {
  const int64_t B = shape.B, T = shape.T, G = shape.G, R = shape.R, D = shape.D;
  OperationCase result;
  result.operation = backward ? "rotary_backward" : "rotary_forward";
  result.label = fmt::format("B {} T {} G {} R {} D {}, theta {} factor {}", B, T, G, R, D,
                             rotary.theta, rotary.factor);
  result.operands = {{"qkv", Role::kInPlace, {B, T, G, R + 2, D}}};
  result.call = [=](Kernels& kernels, Stream& stream, const Operands& t) {
    if (backward) {
      kernels.rotary_backward(stream, shape, rotary, t["qkv"]);
    } else {
      kernels.rotary_forward(stream, shape, rotary, t["qkv"]);
    }
  };
  return result;
}

}  // namespace

std::vector<OperationCase> swiglu_cases() {
  std::vector<OperationCase> cases;
  // One channel; odd; more channels than a piece has; many short rows.
  for (const auto& [N, F] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 33}, {2, 8192}, {3, 20001}, {2500, 16}}) {
    for (const bool in_place : {false, true}) cases.push_back(swiglu_case(N, F, in_place));
  }
  return cases;
}

std::vector<OperationCase> rotary_cases() {
  std::vector<OperationCase> cases;
  // Scaled so that some pairs are fast, some slow and some between within these few positions.
  const Rotary scaled = {.theta = 1000,
                         .factor = 8,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_sequence = 64};
  const AttentionShape shapes[] = {{1, 1, 1, 1, 2},    {2, 7, 3, 2, 6},   {2, 33, 2, 4, 64},
                                   {1, 300, 1, 3, 24}, {1, 5, 1, 1, 600}, {3, 16, 4, 1, 128}};
  for (const AttentionShape& shape : shapes) {
    for (const Rotary& rotary : {Rotary{}, scaled}) {
      for (const bool backward : {false, true})
        cases.push_back(rotary_case(shape, rotary, backward));
    }
  }
  return cases;
}

}  // namespace leasehold
