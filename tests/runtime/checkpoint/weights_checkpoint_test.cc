// Checkpoints of weights from elsewhere, whose moments are zero.
#include "runtime/checkpoint/weights_checkpoint.h"

#include <gtest/gtest.h>

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/state_digest.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/faulty_files.h"

namespace leasehold {
namespace {

// The sample shapes and one parameter of more than two pieces.
std::map<std::string, Shape> shapes() {
  std::map<std::string, Shape> all = sample_shapes();
  all["long"] = Shape{2 * kMaxPieceElements + 7};
  return all;
}

int64_t bytes_in(FaultyFiles& files, const std::string& path) {
  int64_t bytes = 0;
  const std::vector<std::string> names = files.list(path).value();
  for (const std::string& name : names)
    bytes += files.open(join_path(path, name)).value()->size_bytes();
  return bytes;
}

TEST(WeightsCheckpoint, HoldsZeroMomentsAndHardlyStoresThem) {
  SampleState state = random_state(shapes(), 3);
  std::vector<WeightShape> parameters;
  int64_t weight_bytes = 0;
  for (auto& [key, tensor] : state) {
    if (key.second != StateKind::kWeight) {
      std::ranges::fill(tensor.elements, 0.0f);
      continue;
    }
    parameters.push_back({key.first, tensor.shape});
    weight_bytes += tensor.shape.num_elements() * int64_t{sizeof(float)};
  }
  const FillWeight fill = [&](size_t index, std::span<float> values) {
    std::ranges::copy(state.at({parameters[index].name, StateKind::kWeight}).elements,
                      values.begin());
    return ok_status();
  };
  // As few files as fit, and a file for each parameter.
  for (const int64_t file_bytes : {kWeightsFileBytes, int64_t{1}}) {
    FaultyFiles files;
    throw_if_error(files.make_directories("run"));
    throw_if_error(write_weights_checkpoint(files, "run/imported", "tag", sample_info(0),
                                            parameters, fill, file_bytes));
    const CheckpointHandle handle = open_checkpoint(files, "run/imported").value();
    EXPECT_EQ(std::ssize(handle.manifest->files), file_bytes == 1 ? std::ssize(parameters) : 1);
    EXPECT_EQ(load_whole(files, handle).value(), state);
    // One piece of zeros, and one as long as each parameter that is shorter.
    EXPECT_LT(bytes_in(files, "run/imported"), weight_bytes + 5 * kMaxPieceElements);
    EXPECT_GT(bytes_in(files, "run/imported"), weight_bytes);
    // The same state as one whose zeros are all in files.
    FaultyFiles others;
    throw_if_error(save_whole(others, "run", sample_info(0), state));
    EXPECT_EQ(state_digest(files, handle).value(),
              state_digest(others, open_newest_checkpoint(others, "run").value()).value());
  }
}

}  // namespace
}  // namespace leasehold
