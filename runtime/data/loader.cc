#include "runtime/data/loader.h"

#include <bit>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/base/digest.h"

namespace leasehold {

namespace {

constexpr int kFeistelRounds = 8;

// Applies the finalizer of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014): every bit of the argument reaches every bit of the result.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

uint64_t epoch_key(uint64_t seed, uint64_t epoch) {
  constexpr std::string_view kSite = "data.order";
  return digest64(&epoch, sizeof epoch, digest64(kSite.data(), kSite.size(), seed));
}

}  // namespace

uint64_t permute(uint64_t index, uint64_t size, uint64_t key) {
  LEASEHOLD_CHECK(index < size, "index {} of {}", index, size);
  if (size == 1) return 0;
  const int bits = std::bit_width(size - 1);
  const int half_bits = (bits + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t value = index;
  do {
    uint64_t left = value >> half_bits;
    uint64_t right = value & mask;
    for (uint64_t round = 1; round <= kFeistelRounds; ++round) {
      const uint64_t f = mix(key + round * 0x9E3779B97F4A7C15 + mix(right + 1)) >> 32;
      const uint64_t next = left ^ (f & mask);
      left = right;
      right = next;
    }
    value = left << half_bits | right;
  } while (value >= size);
  return value;
}

WindowLoader::WindowLoader(TokenFile file, int64_t T, int64_t vocab, uint64_t seed,
                           int64_t num_windows)
    : file_(std::move(file)), T_(T), vocab_(vocab), seed_(seed), num_windows_(num_windows) {}

Result<WindowLoader> WindowLoader::create(TokenFile file, int64_t T, int64_t vocab, uint64_t seed) {
  LEASEHOLD_CHECK(T > 0 && vocab > 0, "windows of {} tokens over a vocabulary of {}", T, vocab);
  const int64_t num_windows = file.num_tokens() > 0 ? (file.num_tokens() - 1) / T : 0;
  if (num_windows == 0) {
    return error(Code::kBadData,
                 "{}: {} tokens are too few for one window of {} and the token that follows it; "
                 "prepare more text or lower model.sequence",
                 file.path(), file.num_tokens(), T);
  }
  return WindowLoader(std::move(file), T, vocab, seed, num_windows);
}

Status WindowLoader::sample(uint64_t index, std::span<int32_t> tokens,
                            std::span<int32_t> targets) const {
  const uint64_t size = static_cast<uint64_t>(num_windows_);
  const uint64_t w = permute(index % size, size, epoch_key(seed_, index / size));
  return window(static_cast<int64_t>(w), tokens, targets);
}

Status WindowLoader::window(int64_t w, std::span<int32_t> tokens,
                            std::span<int32_t> targets) const {
  LEASEHOLD_CHECK(w >= 0 && w < num_windows_, "{}: window {} of {}", file_.path(), w, num_windows_);
  LEASEHOLD_CHECK(static_cast<int64_t>(tokens.size()) == T_ && targets.size() == tokens.size(),
                  "{} tokens and {} targets, windows have {}", tokens.size(), targets.size(), T_);
  LEASEHOLD_RETURN_IF_ERROR(file_.read(w * T_, tokens, vocab_));
  return file_.read(w * T_ + 1, targets, vocab_);
}

}  // namespace leasehold
