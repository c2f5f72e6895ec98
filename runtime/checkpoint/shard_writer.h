// Writes one rank's slices as one .safetensors file (see shard_plan.h). Local; the collective part
// is durable_writer.cc.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "runtime/base/files.h"
#include "runtime/checkpoint/shard_plan.h"

namespace leasehold {

// Creates directory/name with its index and syncs it; the directory is for the caller to sync, once
// all its files are there. Slices must be f32, lie inside their global shape and not overlap
// (kInternal); the files of all ranks together are checked by merge_summaries. kStorage, naming the
// file: what was written then is left behind for the caller to remove.
Result<ShardPieces> write_shard(FileSystem& files, const std::string& directory,
                                const std::string& name, std::span<const StateSlice> slices);

// The same for weights that are never in memory together, and moments that are all zero: the
// slices' data say their shapes alone, and `values` gives the elements of a piece of weights, which
// are used before it is called again. Pieces come slice by slice, each from its front to its end.
// Zeros take the room of one piece of each length.
using PieceValues = std::function<Result<const float*>(const PlannedPiece&)>;
Result<ShardPieces> write_weights_shard(FileSystem& files, const std::string& directory,
                                        const std::string& name, std::span<const StateSlice> slices,
                                        const PieceValues& values);

}  // namespace leasehold
