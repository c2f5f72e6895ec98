// A small training state and random layouts over it: what the tests of this folder save and load.
// Elements are placed one by one from their global index, apart from the code under test.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "runtime/checkpoint/boxes.h"
#include "runtime/checkpoint/durable.h"

namespace leasehold {

struct SampleTensor {
  Shape shape;
  std::vector<float> elements;  // row-major
  bool operator==(const SampleTensor&) const = default;
};

using SampleState = std::map<std::pair<std::string, StateKind>, SampleTensor>;

// A few parameters of one to five dims.
std::map<std::string, Shape> sample_shapes();
SampleState random_state(const std::map<std::string, Shape>& shapes, uint64_t seed);

// The slices of one rank with their memory.
struct RankSlices {
  std::vector<std::unique_ptr<std::vector<float>>> memory;
  std::vector<StateSlice> slices;

  void add(const std::string& parameter, StateKind kind, const Shape& global,
           const BoxRange& range);
};

// The whole of every tensor, as a reader that wants all of it would ask; zero-filled.
RankSlices whole_slices(const std::map<std::string, Shape>& shapes);
// Every tensor cut for `num_ranks` ranks: along a random dim by a random tensor degree that divides
// both, each box then cut into ranges (some of them empty) for the ranks that share it.
// Zero-filled.
std::vector<RankSlices> random_layout(const std::map<std::string, Shape>& shapes, int num_ranks,
                                      std::mt19937_64& random);

// Element by element.
void copy_in(const SampleState& state, RankSlices& rank);
void copy_out(const RankSlices& rank, SampleState& state);

CheckpointInfo sample_info(int64_t step);

// Saves `state` with one thread per rank; the status of each rank.
std::vector<Status> save_on_ranks(FileSystem& files, const std::string& run_dir,
                                  const CheckpointInfo& info, const std::vector<RankSlices>& ranks);
// The same by a single rank, in this thread.
Status save_whole(FileSystem& files, const std::string& run_dir, const CheckpointInfo& info,
                  const SampleState& state);

// Everything in the checkpoint, by load_checkpoint.
Result<SampleState> load_whole(FileSystem& files, const CheckpointHandle& checkpoint);
Result<SampleState> load_whole(FileSystem& files, const std::string& path);

// The newest checkpoint of run_dir that loads, as a caller that falls back would find it;
// kMissingInput when none does.
struct FoundState {
  int64_t step = 0;
  SampleState state;
};
Result<FoundState> load_newest_good(FileSystem& files, const std::string& run_dir);

}  // namespace leasehold
