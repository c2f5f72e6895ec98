// What a snapshot says of itself: which state of which run, whose part of it, and the digest of
// every piece. Travels with the snapshot to the partner, sealed by the run's key: where everybody
// may write, a digest alone would show that nobody lied to itself.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/mac.h"
#include "runtime/checkpoint/manifest.h"

namespace leasehold {

struct SnapshotDescription {
  CheckpointInfo info;  // without its long texts (model_texts.h)
  Digest128 texts;      // of those
  int64_t world_size = 0;
  int64_t rank = 0;  // whose part
  ShardPieces shard;
  bool operator==(const SnapshotDescription&) const = default;
};

// JSON with a digest over itself, on one line; kBadData when a name is not UTF-8.
Result<std::string> encode_snapshot(const SnapshotDescription& snapshot);
// kBadData, naming `file` and the field. Trailing spaces are fine.
Result<SnapshotDescription> parse_snapshot(std::string_view text, const std::string& file);

// The description and a second line, its MAC.
std::string seal_snapshot(const std::string& description, const SecretKey& key);
inline constexpr int64_t kSealBytes = Mac::kDigits + 1;
// The description of what seal_snapshot made with the same key; else kBadData, naming `file`.
Result<std::string> unseal_snapshot(std::string sealed, const SecretKey& key,
                                    const std::string& file);

}  // namespace leasehold
