#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

struct EmbeddingExtents {
  int64_t B, T, V, C, num_positions;
  int64_t num_kinds;  // distinct tokens used: few make long runs of one token
  VocabularyShard shard = {};
};
constexpr EmbeddingExtents kEmbeddingExtents[] = {{1, 1, 1, 1, 1, 1},
                                                  {2, 5, 7, 3, 5, 7},
                                                  {3, 17, 1001, 33, 20, 5},
                                                  {4, 64, 50, 257, 64, 50},
                                                  {2, 100, 13, 300, 128, 1},
                                                  {5, 500, 300, 64, 500, 100},
                                                  {3, 17, 11, 33, 20, 33, {1, 3}},
                                                  {3, 17, 11, 33, 20, 2, {2, 3}}};

double token(const EmbeddingExtents& e, int64_t i) {
  const int64_t vocab = e.V * e.shard.count;
  const int64_t id = (i * 7919 + i / 3) % e.num_kinds * (vocab / e.num_kinds);
  return static_cast<double>(id);
}

Dropout dropout_of(float p) { return {p, RandomSite::make(7, "embedding", 2, 9), 6}; }

std::string label_of(const EmbeddingExtents& e, bool has_positions, float p) {
  return fmt::format(
      "B {} T {} V {} C {}{}{}, dropout {}", e.B, e.T, e.V, e.C,
      has_positions ? fmt::format(" positions {}", e.num_positions) : "",
      e.shard.count > 1 ? fmt::format(" shard {} of {}", e.shard.index, e.shard.count) : "", p);
}

OperationCase forward_case(const EmbeddingExtents& e, bool has_positions, float p) {
  OperationCase result;
  result.operation = "embedding_forward";
  result.label = label_of(e, has_positions, p);
  result.operands = {
      {"tokens", Role::kInput, {e.B, e.T}, Element::kI32, [e](int64_t i) { return token(e, i); }},
      {"token_weight", Role::kInput, {e.V, e.C}},
      {"out", Role::kOutput, {e.B * e.T, e.C}}};
  if (has_positions) {
    result.operands.push_back({"position_weight", Role::kInput, {e.num_positions, e.C}});
  }
  result.call = [p, shard = e.shard](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.embedding_forward(stream, t["tokens"], t["token_weight"], t["position_weight"],
                              dropout_of(p), t["out"], shard);
  };
  return result;
}

OperationCase backward_case(const EmbeddingExtents& e, bool has_positions, float p, Write write) {
  const Role gradient = write == Write::kAccumulate ? Role::kInPlace : Role::kOutput;
  OperationCase result;
  result.operation = "embedding_backward";
  result.label = label_of(e, has_positions, p) +
                 (write == Write::kAccumulate ? ", accumulate" : ", overwrite");
  result.operands = {
      {"tokens", Role::kInput, {e.B, e.T}, Element::kI32, [e](int64_t i) { return token(e, i); }},
      {"dout", Role::kInput, {e.B * e.T, e.C}},
      {"dtoken_weight", gradient, {e.V, e.C}, Element::kState},
      {.name = "workspace",
       .role = Role::kWorkspace,
       .workspace_bytes = [e](const Kernels& kernels) {
         return kernels.embedding_backward_workspace_bytes(e.B * e.T, e.V, e.C);
       }}};
  if (has_positions) {
    result.operands.push_back(
        {"dposition_weight", gradient, {e.num_positions, e.C}, Element::kState});
  }
  result.call = [p, write, shard = e.shard](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.embedding_backward(stream, t["tokens"], t["dout"], dropout_of(p), t["dtoken_weight"],
                               t["dposition_weight"], write, t["workspace"], shard);
  };
  return result;
}

}  // namespace

std::vector<OperationCase> embedding_cases() {
  std::vector<OperationCase> cases;
  for (const EmbeddingExtents& extents : kEmbeddingExtents) {
    for (const bool has_positions : {false, true}) {
      for (const float p : {0.0F, 0.25F}) {
        cases.push_back(forward_case(extents, has_positions, p));
        cases.push_back(backward_case(extents, has_positions, p, Write::kOverwrite));
        cases.push_back(backward_case(extents, has_positions, p, Write::kAccumulate));
      }
    }
  }
  return cases;
}

}  // namespace leasehold
