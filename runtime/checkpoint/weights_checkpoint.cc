#include "runtime/checkpoint/weights_checkpoint.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/checkpoint/checkpoint_directory.h"
#include "runtime/checkpoint/publish_directory.h"
#include "runtime/checkpoint/shard_index.h"
#include "runtime/checkpoint/shard_writer.h"

namespace leasehold {

namespace {

struct Group {  // parameters [begin, end) of one file
  size_t begin = 0, end = 0;
};

std::vector<Group> group_by_size(std::span<const WeightShape> parameters, int64_t file_bytes) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(float));
  std::vector<Group> groups;
  int64_t filled = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const int64_t bytes = parameters[i].shape.num_elements() * kBytes;
    if (groups.empty() || bytes > file_bytes - filled) {
      groups.push_back({i, i});
      filled = 0;
    }
    groups.back().end = i + 1;
    filled += bytes;
  }
  return groups;
}

// Gives pieces of one file: a parameter's weights are asked for when its first piece is due.
class Values {
 public:
  Values(size_t first, std::span<const StateSlice> slices, const FillWeight& fill)
      : first_(first), slices_(slices), fill_(fill) {}

  Result<const float*> operator()(const PlannedPiece& piece) {
    const StateSlice& slice = slices_[piece.slice];
    if (piece.range.begin == 0) {
      weights_.resize(static_cast<size_t>(slice.data.num_elements()));
      LEASEHOLD_RETURN_IF_ERROR(fill_(first_ + piece.slice / kStateKinds.size(), weights_));
    }
    return weights_.data() + piece.range.begin;
  }

 private:
  size_t first_;  // parameter of slice 0
  std::span<const StateSlice> slices_;
  const FillWeight& fill_;
  std::vector<float> weights_;
};

}  // namespace

Status write_weights_checkpoint(FileSystem& files, const std::string& path, const std::string& tag,
                                const CheckpointInfo& info, std::span<const WeightShape> parameters,
                                const FillWeight& fill, int64_t file_bytes) {
  if (parameters.empty()) return error(Code::kInternal, "{}: a checkpoint of no parameters", path);
  const std::vector<Group> groups = group_by_size(parameters, file_bytes);
  return publish_directory(files, path, tag, [&](const std::string& directory) -> Status {
    std::vector<std::string> summaries;
    for (const Group& group : groups) {
      std::vector<StateSlice> slices;
      for (const WeightShape& parameter :
           parameters.subspan(group.begin, group.end - group.begin)) {
        for (const StateKind kind : kStateKinds) {
          slices.push_back(
              {.parameter = parameter.name,
               .kind = kind,
               .global_shape = parameter.shape,
               .box = Box::whole(parameter.shape),
               .data = Tensor(nullptr, DType::kF32, Shape{parameter.shape.num_elements()})});
        }
      }
      const std::string name =
          shard_name(static_cast<int>(summaries.size()), static_cast<int>(groups.size()));
      LEASEHOLD_ASSIGN_OR_RETURN(
          const ShardPieces shard,
          write_weights_shard(files, directory, name, slices, Values(group.begin, slices, fill)));
      LEASEHOLD_ASSIGN_OR_RETURN(std::string summary, encode_summary(summarize(shard)));
      summaries.push_back(std::move(summary));
    }
    const Result<Manifest> manifest = merge_summaries(info, summaries);
    if (!manifest.ok()) return error(Code::kInternal, "{}", manifest.status().message());
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, encode_manifest(manifest.value()));
    return files.create_exclusive(join_path(directory, kManifestName), text);
  });
}

}  // namespace leasehold
