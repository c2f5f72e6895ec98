#include <array>
#include <fmt/format.h>
#include <limits>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

enum class Targets { kAll, kSome, kNone };

std::string label_of(int64_t N, int64_t V, float gradient_scale, Targets targets) {
  return fmt::format("N {} V {}, scale {}, targets {}", N, V, gradient_scale,
                     static_cast<int>(targets));
}

std::string label_of(int64_t row_gap) {
  return row_gap == 0 ? "" : fmt::format(", rows {} apart", row_gap);
}

double target_of(int64_t V, Targets targets, int64_t row) {
  const bool left_out = targets == Targets::kNone || (targets == Targets::kSome && row % 3 == 1);
  return left_out ? -1.0 : static_cast<double>(row * 7919 % V);
}

// Rows far from zero: the exponentials overflow unless the maximum is taken off.
double logit_of(int64_t V, int64_t i) {
  return 200.0 * static_cast<double>(i / V % 3 - 1) +
         0.01 * static_cast<double>((i * 7919) % 1409 - 704);
}

OperationCase cross_entropy_case(int64_t N, int64_t V, float gradient_scale, Targets targets,
                                 int64_t row_gap = 0) {
  OperationCase result;
  result.operation = "cross_entropy";
  result.label = label_of(N, V, gradient_scale, targets) + label_of(row_gap);
  const bool in_place = gradient_scale != 0;
  result.operands = {{"logits",
                      in_place ? Role::kInPlace : Role::kInput,
                      {N, V},
                      Element::kCompute,
                      [V](int64_t i) { return logit_of(V, i); }},
                     {"targets",
                      Role::kInput,
                      {N},
                      Element::kI32,
                      [V, targets](int64_t row) { return target_of(V, targets, row); }},
                     {"loss", Role::kOutput, {1}, Element::kF64},
                     {.name = "workspace",
                      .role = Role::kWorkspace,
                      .workspace_bytes = [N, V](const Kernels& kernels) {
                        return kernels.cross_entropy_workspace_bytes(N, V);
                      }}};
  result.operands[0].row_gap = row_gap;
  result.call = [gradient_scale](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.cross_entropy(stream, t["logits"], t["targets"], gradient_scale, t["loss"],
                          t["workspace"]);
  };
  return result;
}

// Returns logits as a real model may have them in one row: one far above all others, some far
// below, some masked with minus infinity.
double extreme_logit(int64_t V, int64_t i) {
  const int64_t row = i / V, column = i % V;
  if (row % 4 == 0 && column == 5) return 1e4;
  if (row % 4 == 1 && column % 3 == 1) return -std::numeric_limits<double>::infinity();
  if (row % 4 == 2 && column % 2 == 1) return -1e4;
  if (row % 4 == 3 && column % 7 == 6) return column % 2 == 0 ? 1e4 : -1e4;
  return logit_of(V, i);
}

OperationCase extreme_case(int64_t N, int64_t V, float gradient_scale, int64_t row_gap) {
  OperationCase result = cross_entropy_case(N, V, gradient_scale, Targets::kAll, row_gap);
  result.label += ", extreme";
  result.operands[0].value = [V](int64_t i) { return extreme_logit(V, i); };
  // Columns 0, 3, 6, ... are never masked.
  result.operands[1].value = [V](int64_t row) { return static_cast<double>(row * 3 % V / 3 * 3); };
  return result;
}

// The vocabulary in `num_shards` parts, each of V columns, one after the other. Every shard's
// largest logits are its own, some far below the row's.
OperationCase cross_entropy_in_shards_case(int64_t N, int64_t V, int64_t num_shards,
                                           float gradient_scale, Targets targets,
                                           int64_t row_gap = 0) {
  OperationCase result;
  result.operation = "cross_entropy_in_shards";
  result.label = label_of(N, V, gradient_scale, targets) + fmt::format(", {} shards", num_shards) +
                 label_of(row_gap);
  const bool in_place = gradient_scale != 0;
  result.operands = {{"logits",
                      in_place ? Role::kInPlace : Role::kInput,
                      {num_shards * N, V},
                      Element::kCompute,
                      [N, V](int64_t i) {
                        const int64_t shard = i / (N * V), row = i / V % N;
                        return logit_of(V, i % (N * V)) +
                               (row % 2 == 0 ? 7.0 : -40.0) * static_cast<double>(shard);
                      }},
                     {"targets",
                      Role::kInput,
                      {N},
                      Element::kI32,
                      [=](int64_t row) { return target_of(V * num_shards, targets, row); }},
                     {"statistics", Role::kOutput, {num_shards, N, 3}, Element::kF64},
                     {"losses", Role::kOutput, {num_shards}, Element::kF64},
                     {.name = "workspace",
                      .role = Role::kWorkspace,
                      .workspace_bytes = [N, V](const Kernels& kernels) {
                        return kernels.cross_entropy_workspace_bytes(N, V);
                      }}};
  result.operands[0].row_gap = row_gap;
  result.call = [=](Kernels& kernels, Stream& stream, const Operands& t) {
    for (int64_t i = 0; i < num_shards; ++i) {
      kernels.cross_entropy_statistics(stream, t["logits"].rows(i * N, N), t["targets"],
                                       {i, num_shards}, in_place,
                                       t["statistics"].rows(i, 1).reshape({N, 3}));
    }
    for (int64_t i = 0; i < num_shards; ++i) {
      const Tensor logits = in_place ? t["logits"].rows(i * N, N) : Tensor();
      kernels.cross_entropy_from_statistics(stream, t["statistics"], t["targets"], {i, num_shards},
                                            gradient_scale, logits, t["losses"].rows(i, 1),
                                            t["workspace"]);
    }
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
    // As the head has them, and with rows that begin nowhere in particular.
    for (const int64_t row_gap : {(V + 63) / 64 * 64 - V, int64_t{3}}) {
      cases.push_back(cross_entropy_case(N, V, 0, Targets::kAll, row_gap));
      cases.push_back(cross_entropy_case(N, V, 0.125F, Targets::kSome, row_gap));
    }
  }
  for (const int64_t row_gap : {0, 31}) {
    cases.push_back(extreme_case(12, 33, 0, row_gap));
    cases.push_back(extreme_case(12, 33, 1.0F, row_gap));
    cases.push_back(extreme_case(4, 3001, 0.125F, row_gap));
  }
  for (const auto& [N, V, num_shards] :
       {std::array<int64_t, 3>{1, 1, 1}, {5, 33, 2}, {17, 1025, 3}, {300, 64, 4}, {3, 1, 5}}) {
    cases.push_back(cross_entropy_in_shards_case(N, V, num_shards, 0, Targets::kAll));
    cases.push_back(cross_entropy_in_shards_case(N, V, num_shards, 0.125F, Targets::kSome));
    cases.push_back(cross_entropy_in_shards_case(N, V, num_shards, 1.0F, Targets::kNone));
    cases.push_back(cross_entropy_in_shards_case(N, V, num_shards, 0, Targets::kSome, 7));
    cases.push_back(cross_entropy_in_shards_case(N, V, num_shards, 0.125F, Targets::kSome,
                                                 (V + 63) / 64 * 64 - V));
  }
  return cases;
}

}  // namespace leasehold
