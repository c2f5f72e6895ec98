// Caches the tokens of recent pieces for one thread, since words repeat. It is a fixed table with
// one slot per hash; a new piece replaces the old one.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/base/digest.h"

namespace leasehold {

class PieceCache {
 public:
  PieceCache() : slots_(kNumSlots) {}

  // Appends the tokens of `piece` to `out`: the cached ones, or else the ones that compute(piece,
  // out) appends, which must depend on the piece alone.
  template <typename Compute>
  void append(std::string_view piece, std::vector<int32_t>& out, const Compute& compute) {
    if (piece.empty() || piece.size() > kMaxPieceBytes) {
      compute(piece, out);
      return;
    }
    Slot& slot = slots_[digest64(piece.data(), piece.size()) & (kNumSlots - 1)];
    if (slot.num_bytes == piece.size() &&
        std::memcmp(slot.bytes.data(), piece.data(), piece.size()) == 0) {
      out.insert(out.end(), slot.ids.data(), slot.ids.data() + slot.num_ids);
      return;
    }
    const size_t before = out.size();
    compute(piece, out);
    const size_t added = out.size() - before;
    if (added > kMaxIds) return;
    slot.num_bytes = static_cast<uint8_t>(piece.size());
    slot.num_ids = static_cast<uint8_t>(added);
    std::memcpy(slot.bytes.data(), piece.data(), piece.size());
    std::copy_n(out.data() + before, added, slot.ids.data());
  }

 private:
  static constexpr size_t kNumSlots = size_t{1} << 15;
  static constexpr size_t kMaxPieceBytes = 30;
  static constexpr size_t kMaxIds = 8;
  // A cache line. num_bytes = 0: empty.
  struct alignas(64) Slot {
    uint8_t num_bytes = 0;
    uint8_t num_ids = 0;
    std::array<char, kMaxPieceBytes> bytes;
    std::array<int32_t, kMaxIds> ids;
  };
  std::vector<Slot> slots_;
};

}  // namespace leasehold
