// A checkpoint that training did not write: weights from elsewhere, moments zero, step 0. A run
// starts from one by `run.start_from`; whatever reads checkpoints reads it. The zeros of a file
// take little of it: pieces of moments that are equally long are one tensor there.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "runtime/base/files.h"
#include "runtime/checkpoint/checkpoint_info.h"
#include "runtime/tensor/shape.h"

namespace leasehold {

struct WeightShape {
  std::string name;  // of the parameter
  Shape shape;
};

// Puts the elements of parameter `index`, row-major, into `values`.
using FillWeight = std::function<Status(size_t index, std::span<float> values)>;

// A file holds whole parameters, as many as fit and at least one.
inline constexpr int64_t kWeightsFileBytes = int64_t{4} << 30;

// Writes `path` by publish_directory: shards, then the manifest. Asks for the parameters in order,
// one at a time, and holds the largest of them and one piece. Local. Errors of publish_directory
// and of `fill`; kInternal when two parameters have one name or there is none.
Status write_weights_checkpoint(FileSystem& files, const std::string& path, const std::string& tag,
                                const CheckpointInfo& info, std::span<const WeightShape> parameters,
                                const FillWeight& fill, int64_t file_bytes = kWeightsFileBytes);

}  // namespace leasehold
