// Training windows addressed by a global sample index. Sample i depends on (seed, i) alone, so the
// data order neither restarts nor repeats when the number of ranks changes. Only the map is held in
// memory.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/data/token_file.h"

namespace leasehold {

// Returns the image of `index` under a permutation of [0, size) that depends on `key`: a balanced
// Feistel network over the next power of four, repeated until the result lies inside (cycle
// walking; Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). Pure, without
// memory.
uint64_t permute(uint64_t index, uint64_t size, uint64_t key);

// Window w is tokens [w T, w T + T): T inputs, and the T tokens one position later as targets.
// There are (tokens - 1) / T windows.
class WindowLoader {
 public:
  // Makes a loader. Ids that are not below `vocab` are errors. kBadData if the file does not hold a
  // single window.
  static Result<WindowLoader> create(TokenFile file, int64_t T, int64_t vocab, uint64_t seed);

  const TokenFile& file() const { return file_; }
  int64_t num_windows() const { return num_windows_; }
  int64_t T() const { return T_; }

  // Returns training sample i: window permute(i mod num_windows), with a key made of (seed,
  // epoch = i / num_windows). tokens and targets have T elements each.
  Status sample(uint64_t index, std::span<int32_t> tokens, std::span<int32_t> targets) const;
  // Returns window w of the file, for validation.
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
