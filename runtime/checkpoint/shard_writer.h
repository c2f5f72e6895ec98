// Writes one rank's slices as one .safetensors file: flat F32 tensors of at most kMaxPieceElements
// elements, each with its digest. Local; the collective part is durable_writer.cc.
#pragma once

#include <span>
#include <string>

#include "runtime/base/files.h"
#include "runtime/checkpoint/manifest.h"

namespace leasehold {

// "shard-00000-of-00004.safetensors". The number orders the files and says nothing about what is
// inside.
std::string shard_name(int index, int count);

// "blocks.0.mlp.fc.weight/m@0:4194304", with "[0:2, 64:128]" before the '@' when the box is not the
// whole tensor.
std::string piece_key(const std::string& parameter, StateKind kind, const Shape& global_shape,
                      const BoxRange& range);

// Creates directory/name and syncs it and the directory. Slices must be f32, lie inside their
// global shape and not overlap (kInternal); the files of all ranks together are checked by
// merge_shards. kStorage, naming the file: what was written then is left behind for the caller to
// remove.
Result<ShardPieces> write_shard(FileSystem& files, const std::string& directory,
                                const std::string& name, std::span<const StateSlice> slices);

}  // namespace leasehold
