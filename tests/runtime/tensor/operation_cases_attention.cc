#include <algorithm>
#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"
#include "tests/support/reference_attention.h"

namespace leasehold {

namespace {

// Forward and backward together: backward takes what forward kept.
OperationCase attention_case(const AttentionShape& shape, float p) {
  const int64_t B = shape.B, T = shape.T, G = shape.G, R = shape.R, D = shape.D;
  const Shape packed = {B, T, G, R + 2, D};
  const Shape heads = {B, T, shape.H(), D};
  OperationCase result;
  result.operation = "attention";
  result.label = fmt::format("B {} T {} G {} R {} D {}, dropout {}", B, T, G, R, D, p);
  if (shape.all_heads > 0)
    result.label += fmt::format(", heads from {} of {}", shape.first_head, shape.all_heads);
  result.operands = {
      {"qkv", Role::kInput, packed, Element::kCompute,
       [](int64_t i) { return 0.003 * static_cast<double>((i * 7919) % 1409 - 704); }},
      {"dout", Role::kInput, heads},
      {.name = "out", .role = Role::kOutput, .shape = heads},
      {"log_sum_exp", Role::kOutput, {B, shape.H(), T}, Element::kState},
      {.name = "dqkv",
       .role = Role::kOutput,
       .shape = packed,
       .part =
           [R, D](int64_t i) {
             return static_cast<int>(std::max<int64_t>(0, i / D % (R + 2) - R + 1));
           }},
      {.name = "workspace",
       .role = Role::kWorkspace,
       .workspace_bytes = [shape](const Kernels& kernels) {
         return kernels.attention_workspace_bytes(shape);
       }}};
  const Dropout dropout{p, RandomSite::make(7, "attention", 1, 4), 3};
  result.call = [shape, dropout](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.attention_forward(stream, shape, t["qkv"], dropout, t["out"], t["log_sum_exp"],
                              t["workspace"]);
    kernels.attention_backward(stream, shape, t["dout"], t["qkv"], t["out"], t["log_sum_exp"],
                               dropout, t["dqkv"], t["workspace"]);
  };
  const auto bounds_by = [shape, dropout](auto find) {
    return [shape, dropout, find](Kernels&, Stream&, const Operands& t) {
      find(shape, dropout, t["qkv"].as<double>(), t["dout"].as<double>(),
           AttentionBounds{t["out"].as<double>(), t["log_sum_exp"].as<double>(),
                           t["dqkv"].as<double>()});
    };
  };
  result.terms = bounds_by(attention_terms);
  result.rounded_inside = bounds_by(attention_rounded_inside);
  return result;
}

// T positions of a text of `first` earlier ones, where there is room for S.
OperationCase cached_attention_case(AttentionShape shape, int64_t first, int64_t S) {
  shape.first_position = first;
  const int64_t B = shape.B, T = shape.T, G = shape.G, R = shape.R, D = shape.D;
  OperationCase result;
  result.operation = "attention_cached";
  result.label =
      fmt::format("B {} T {} G {} R {} D {}, {} before, {} in all", B, T, G, R, D, first, S);
  result.operands = {
      {"qkv", Role::kInPlace, {B, T, G, R + 2, D}},
      {.name = "kv",
       .role = Role::kInPlace,
       .shape = {B, S, G, 2, D},
       .value = [](int64_t i) { return 0.003 * static_cast<double>((i * 7919) % 1409 - 704); },
       .inner_roundings = true},
      {.name = "out", .role = Role::kOutput, .shape = {B, T, G * R, D}, .inner_roundings = true},
      {.name = "workspace",
       .role = Role::kWorkspace,
       .workspace_bytes = [shape, S](const Kernels& kernels) {
         return kernels.attention_cached_workspace_bytes(shape, S);
       }}};
  result.call = [shape](Kernels& kernels, Stream& stream, const Operands& t) {
    if (shape.D % 2 == 0) kernels.rotary_forward(stream, shape, Rotary{}, t["qkv"]);
    kernels.attention_cached(stream, shape, t["qkv"], t["kv"], t["out"], t["workspace"]);
  };
  return result;
}

}  // namespace

std::vector<OperationCase> cached_attention_cases() {
  std::vector<OperationCase> cases;
  const AttentionShape shapes[] = {{1, 1, 1, 1, 1},  {2, 1, 3, 2, 5},   {1, 1, 2, 4, 64},
                                   {2, 7, 3, 1, 8},  {1, 8, 2, 2, 128}, {1, 64, 1, 4, 16},
                                   {1, 70, 2, 1, 24}};
  for (const AttentionShape& shape : shapes) {
    cases.push_back(cached_attention_case(shape, 0, shape.T));
    cases.push_back(cached_attention_case(shape, 33, 140));
  }
  // Around the runs that one query's keys are cut into.
  for (const int64_t first : {1023, 1024, 2500})
    cases.push_back(cached_attention_case({1, 1, 1, 2, 20}, first, 2501));
  return cases;
}

std::vector<OperationCase> attention_cases() {
  std::vector<OperationCase> cases;
  // One position; odd sizes; one head; grouped heads; around the blocks of 64 and of 128 queries;
  // each of the widths that heads are padded to; enough kv heads that each has a task of its own.
  const AttentionShape shapes[] = {{1, 1, 1, 1, 1},    {2, 1, 3, 2, 5},     {2, 7, 3, 1, 8},
                                   {1, 33, 1, 4, 16},  {2, 64, 2, 1, 64},   {1, 65, 1, 1, 64},
                                   {1, 130, 2, 3, 24}, {1, 200, 1, 1, 80},  {2, 20, 2, 2, 256},
                                   {4, 70, 5, 1, 12},  {1, 129, 1, 2, 128}, {1, 70, 1, 1, 192},
                                   {1, 260, 1, 1, 33}};
  for (const AttentionShape& shape : shapes) {
    cases.push_back(attention_case(shape, 0));
    cases.push_back(attention_case(shape, 0.2F));
  }
  cases.push_back(attention_case(
      {.B = 2, .T = 7, .G = 2, .R = 2, .D = 5, .first_head = 4, .all_heads = 8}, 0.2F));
  return cases;
}

}  // namespace leasehold
