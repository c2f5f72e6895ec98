// Training windows addressed by global sample index: what sample i is depends on (seed, i) alone,
// so that the data order neither restarts nor repeats when the number of ranks changes. Nothing is
// held in memory but the map.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/data/token_file.h"

namespace leasehold {

// A seeded permutation of [0, size): a balanced Feistel network over the next power of four, walked
// until it lands inside (cycle walking; Black and Rogaway, "Ciphers with arbitrary finite domains",
// CT-RSA 2002). Pure, no memory.
uint64_t permute(uint64_t index, uint64_t size, uint64_t key);

// Window w is tokens [w T, w T + T] (T inputs, the same moved by one as targets); there are (tokens
// - 1) / T of them.
class WindowLoader {
 public:
  // `vocab`: ids at or above it are errors. kBadData when the file holds not even one window.
  static Result<WindowLoader> create(TokenFile file, int64_t T, int64_t vocab, uint64_t seed);

  const TokenFile& file() const { return file_; }
  int64_t num_windows() const { return num_windows_; }
  int64_t T() const { return T_; }

  // Training sample i: window permute(i mod num_windows) under a key made of (seed, epoch = i /
  // num_windows). tokens and targets: T each.
  Status sample(uint64_t index, std::span<int32_t> tokens, std::span<int32_t> targets) const;
  // Window w as it lies in the file: for validation.
  Status window(int64_t w, std::span<int32_t> tokens, std::span<int32_t> targets) const;

 private:
  WindowLoader(TokenFile file, int64_t T, int64_t vocab, uint64_t seed, int64_t num_windows);

  TokenFile file_;
  int64_t T_;
  int64_t vocab_;
  uint64_t seed_;
  int64_t num_windows_;
};

}  // namespace leasehold
