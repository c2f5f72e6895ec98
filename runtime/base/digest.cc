#include "runtime/base/digest.h"

#include <new>
#include <xxhash.h>

namespace leasehold {

namespace {

Digest128 from_xxh(XXH128_hash_t hash) { return {hash.high64, hash.low64}; }

}  // namespace

struct Digester::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() {
    if (xxh == nullptr) throw std::bad_alloc();
    XXH3_128bits_reset(xxh);
  }
  ~State() { XXH3_freeState(xxh); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

std::string Digest128::to_hex() const { return fmt::format("{:016x}{:016x}", high, low); }

Result<Digest128> Digest128::from_hex(std::string_view hex) {
  if (hex.size() != 32)
    return error(Code::kBadData, "'{}' is no digest: 32 hexadecimal digits expected", hex);
  uint64_t half[2] = {0, 0};
  for (size_t i = 0; i < 32; ++i) {
    const char c = hex[i];
    int digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      return error(Code::kBadData, "'{}' is no digest: lower-case hexadecimal digits expected",
                   hex);
    }
    half[i / 16] = half[i / 16] << 4 | static_cast<uint64_t>(digit);
  }
  return Digest128{half[0], half[1]};
}

uint64_t digest64(const void* data, size_t size_bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, size_bytes, seed);
}

Digest128 digest128(const void* data, size_t size_bytes) {
  return from_xxh(XXH3_128bits(data, size_bytes));
}

Digester::Digester() : state_(std::make_unique<State>()) {}
Digester::~Digester() = default;
Digester::Digester(Digester&&) noexcept = default;
Digester& Digester::operator=(Digester&&) noexcept = default;

void Digester::update(const void* data, size_t size_bytes) {
  XXH3_128bits_update(state_->xxh, data, size_bytes);
}

void Digester::update_u64(uint64_t value) {
  unsigned char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(value >> (8 * i));
  update(bytes, sizeof bytes);
}

Digest128 Digester::finish() const { return from_xxh(XXH3_128bits_digest(state_->xxh)); }

}  // namespace leasehold
