// What a snapshot says of itself: which state of which run, whose part of it, and the digest of
// every piece. Travels with the snapshot to the partner.
#pragma once

#include <string>
#include <string_view>

#include "runtime/checkpoint/manifest.h"

namespace leasehold {

struct SnapshotDescription {
  CheckpointInfo info;
  int64_t world_size = 0;
  int64_t rank = 0;  // whose part
  ShardPieces shard;
  bool operator==(const SnapshotDescription&) const = default;
};

// JSON with a digest over itself; kBadData when a name is not UTF-8.
Result<std::string> encode_snapshot(const SnapshotDescription& snapshot);
// kBadData, naming `file` and the field. Trailing spaces are fine.
Result<SnapshotDescription> parse_snapshot(std::string_view text, const std::string& file);

}  // namespace leasehold
