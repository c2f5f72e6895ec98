// The arithmetic class: which bits a machine's libraries and processor make of the job's
// operations. Every rank digests the results of fixed inputs; ranks that differ cannot be mixed
// without the training changing, so they are refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

// Names Kernels::order_of_sums among the digests, where it is not 0.
inline constexpr const char* kOrderOfSums = "order_of_sums";

// What decides which operations the job uses and which code paths they take. Sizes are the model's;
// a tensor rank computes its part of them.
struct ArithmeticProbe {
  int64_t hidden = 0;
  int64_t ffn = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t vocab = 0;
  int64_t T = 0;
  int64_t B = 0;
  double norm_eps = 1e-5;
  bool rms_norm = false;         // else layer norm
  bool gated_mlp = false;        // SwiGLU, else GELU
  std::optional<Rotary> rotary;  // of queries and keys; else a table of positions
  double dropout = 0;
  int64_t tensor = 1;  // ranks that share each layer
};

struct OperationDigest {
  std::string operation;  // "linear_forward", ...
  uint64_t digest = 0;
};

// Local. Runs every kind of operation that the job uses, but for `fill`, which computes nothing, on
// inputs drawn from a fixed seed; rows are capped at 128 so that it takes milliseconds. Also
// digests initial values (the host's logarithm and cosine) and the schedule (its cosine and
// powers).
Result<std::vector<OperationDigest>> digest_arithmetic(Device& device, Kernels& kernels,
                                                       const ArithmeticProbe& probe,
                                                       double timeout_s);
// "linear_forward=0123456789abcdef ...": what a manifest keeps.
std::string to_text(const std::vector<OperationDigest>& digests);

// Collective. Every rank's digests against rank 0's; the answer is the same on all ranks:
// kBadConfig naming the first rank that differs, its node and the operation. `node` names this
// rank's.
Status compare_arithmetic(const std::vector<OperationDigest>& mine, const std::string& node,
                          Communicator& world, Stream& stream, double timeout_s);
// Local. Against the text of a manifest; kBadConfig naming the operation. What an older program did
// not digest is not compared.
Status compare_arithmetic(const std::vector<OperationDigest>& mine, const std::string& kept);

}  // namespace leasehold
