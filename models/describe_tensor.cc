#include "models/describe_tensor.h"

#include <numeric>

namespace leasehold {

namespace {

struct DividedKey {
  const char* name;
  int64_t ModelConfig::*field;
};
constexpr DividedKey kDividedKeys[] = {
    {"heads", &ModelConfig::heads},
    {"kv_heads", &ModelConfig::kv_heads},
    {"ffn", &ModelConfig::ffn},
    {"vocab", &ModelConfig::vocab},
};

// Returns the divisors of `value` up to `limit`, as text.
std::string divisors(int64_t value, int64_t limit) {
  std::vector<int64_t> found;
  for (int64_t i = 1; i <= std::min(value, limit); ++i) {
    if (value % i == 0) found.push_back(i);
  }
  return fmt::format("{}", fmt::join(found, ", "));
}

constexpr int64_t kLargestShown = 1024;  // nobody would use a larger degree

}  // namespace

Status check_tensor_degree(const ModelConfig& config, int64_t tensor) {
  if (tensor < 1) return error(Code::kBadConfig, "parallel.tensor = {}: write 1 or more", tensor);
  int64_t common = 0;  // every degree that works divides it
  for (const DividedKey& key : kDividedKeys) common = std::gcd(common, config.*key.field);
  for (const DividedKey& key : kDividedKeys) {
    const int64_t value = config.*key.field;
    if (value % tensor == 0) continue;
    return error(Code::kBadConfig,
                 "parallel.tensor = {} does not divide model.{} = {}: write parallel.tensor = {} "
                 "(what divides heads, kv_heads, ffn and vocab), or model.{} = {}",
                 tensor, key.name, value, divisors(common, kLargestShown), key.name,
                 (value / tensor + 1) * tensor);
  }
  return ok_status();
}

Status check_tensor_rows(int64_t B, int64_t T, int64_t tensor) {
  if (tensor >= 1 && B * T % tensor == 0) return ok_status();
  if (tensor < 1) return error(Code::kBadConfig, "parallel.tensor = {}: write 1 or more", tensor);
  const int64_t step = tensor / std::gcd(tensor, T);
  return error(
      Code::kBadConfig,
      "parallel.tensor = {} does not divide the {} rows of a microbatch (batch.microbatch = "
      "{} sequences of {} positions): write parallel.tensor = {}, or batch.microbatch = {}",
      tensor, B * T, B, T, divisors(B * T, tensor), (B / step + 1) * step);
}

int64_t tensor_bytes_sent(const ModelConfig& config, int64_t N, int64_t tensor,
                          std::optional<Recompute> recompute, int64_t element_bytes) {
  const int64_t crossing = (tensor - 1) * (N / tensor) * config.hidden * element_bytes;
  int64_t crossings = 1 + 4 * config.layers;
  if (recompute) {
    int64_t backward_of_block = 6;
    if (*recompute == Recompute::kAttention) backward_of_block = 7;
    if (*recompute == Recompute::kBlock) backward_of_block = 9;
    crossings += 2 + backward_of_block * config.layers + 1;
  } else {
    crossings += 1;
  }
  return crossings * crossing + 24 * (tensor - 1) * N;
}

}  // namespace leasehold
