// XXH3 digests (xxHash). Every byte that is stored or sent is guarded by 128 bits; keys have 64.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

struct Digest128 {
  uint64_t high = 0;
  uint64_t low = 0;

  auto operator<=>(const Digest128&) const = default;
  // Returns 32 lower-case hexadecimal digits, high half first, as `xxhsum -H2` prints them.
  std::string to_hex() const;
  static Result<Digest128> from_hex(std::string_view hex);
};

uint64_t digest64(const void* data, size_t size_bytes, uint64_t seed = 0);
Digest128 digest128(const void* data, size_t size_bytes);

// A Digester digests bytes that arrive in pieces. The result equals digest128 of their
// concatenation.
class Digester {
 public:
  Digester();
  ~Digester();
  Digester(Digester&&) noexcept;
  Digester& operator=(Digester&&) noexcept;

  void update(const void* data, size_t size_bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  // Adds `value` as eight bytes, little-endian.
  void update_u64(uint64_t value);
  Digest128 finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace leasehold
