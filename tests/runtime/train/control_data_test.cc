// What a rank plans, sends and reads for a save and a restore does not grow with the world.
// bench/control_data measures the same for large models.
#include <gtest/gtest.h>
#include <memory>

#include "runtime/base/watched_files.h"
#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/shard_index.h"
#include "runtime/checkpoint/shard_writer.h"
#include "runtime/tensor/kernels.h"
#include "runtime/train/flat_layout.h"
#include "tests/support/faulty_files.h"

namespace leasehold {
namespace {

// One stage under ZeRO, in buckets of 512 chunks however many ranks share them.
FlatLayout control_layout(int num_ranks) {
  constexpr int64_t kBucketChunks = 512;
  const ParameterTable table({{.name = "a", .shape = {300, Kernels::kChunk}},
                              {.name = "b", .shape = {7}},
                              {.name = "c", .shape = {723, Kernels::kChunk}}});
  return make_flat_layout(table, num_ranks, 4 * kBucketChunks * Kernels::kChunk);
}

class ControlWorld {
 public:
  explicit ControlWorld(int num_ranks)
      : num_ranks_(num_ranks),
        layout_(control_layout(num_ranks)),
        values_(static_cast<size_t>(layout_.num_shard_elements)) {}

  std::vector<StateSlice> slices(int rank) {
    std::vector<StateSlice> all;
    for (const OwnedRange& range : layout_.owned_by(rank)) {
      const FlatParameter& parameter = layout_.parameters[static_cast<size_t>(range.parameter)];
      const Shape shape = {parameter.num_elements};
      for (const StateKind kind : kStateKinds) {
        all.push_back({.parameter = parameter.name,
                       .kind = kind,
                       .global_shape = shape,
                       .box = Box::whole(shape),
                       .begin = range.begin,
                       .data = Tensor(values_.data(), DType::kF32, Shape{range.count})});
      }
    }
    return all;
  }

  CheckpointHandle write(FileSystem& files) {
    throw_if_error(files.make_directories("step"));
    std::vector<std::string> summaries;
    for (int rank = 0; rank < num_ranks_; ++rank) {
      const ShardPieces shard =
          write_shard(files, "step", shard_name(rank, num_ranks_), slices(rank)).value();
      longest_index_bytes = std::max(longest_index_bytes, shard.file.index_bytes);
      summaries.push_back(encode_summary(summarize(shard)).value());
      longest_summary_bytes = std::max(longest_summary_bytes, std::ssize(summaries.back()));
    }
    Manifest manifest = merge_summaries({}, summaries).value();
    CheckpointHandle handle{.path = "step", .info = {}, .manifest = nullptr};
    handle.manifest = std::make_shared<const Manifest>(manifest);
    manifest.files.clear();
    manifest_bytes = std::ssize(encode_manifest(manifest).value());
    return handle;
  }

  int64_t longest_index_bytes = 0;
  int64_t longest_summary_bytes = 0;
  int64_t manifest_bytes = 0;  // but for the names of the files

 private:
  int num_ranks_;
  FlatLayout layout_;
  std::vector<float> values_;
};

// Bytes that one rank reads to know where its slices are.
int64_t bytes_to_plan(FileSystem& files, const CheckpointHandle& handle,
                      const std::vector<StateSlice>& wanted) {
  const auto progress = std::make_shared<FileProgress>("plan");
  const auto watched = watch_files(files, progress);
  EXPECT_TRUE(CheckpointReader(*watched, handle).plan_reads(wanted).ok());
  return progress->bytes();
}

TEST(ControlData, OfASaveAndARestoreDoesNotGrowWithTheWorld) {
  FaultyFiles small_files, large_files;
  ControlWorld small(8), large(128), halved(64);
  const CheckpointHandle of_small = small.write(small_files);
  const CheckpointHandle of_large = large.write(large_files);
  // A rank holds as many ranges of buckets, but fewer whole small parameters.
  EXPECT_LE(large.longest_summary_bytes, small.longest_summary_bytes + 64);
  EXPECT_LE(large.longest_index_bytes, small.longest_index_bytes + 64);
  EXPECT_LE(large.manifest_bytes, small.manifest_bytes + 512);
  // The same layout reads the index of its own shard, and half as many ranks read those of few.
  const int64_t in_small = bytes_to_plan(small_files, of_small, small.slices(5));
  const int64_t in_large = bytes_to_plan(large_files, of_large, large.slices(77));
  EXPECT_LE(in_large, in_small + 64);
  EXPECT_LE(bytes_to_plan(large_files, of_large, halved.slices(33)), 8 * in_small);
}

}  // namespace
}  // namespace leasehold
