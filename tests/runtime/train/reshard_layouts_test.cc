// A checkpoint of any layout loads under any other, and is the same state.
#include <gtest/gtest.h>
#include <map>
#include <span>

#include "collectives/threads.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/durable.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

struct StoredLayout {
  const char* name;
  int data, pipeline, chunks, zero, tensor;
  int num_ranks() const { return data * pipeline * tensor; }
};

constexpr StoredLayout kStoredLayouts[] = {
    {"one", 1, 1, 1, 0, 1},      {"data-2", 2, 1, 1, 0, 1},   {"zero1-3", 3, 1, 1, 1, 1},
    {"zero2-2", 2, 1, 1, 2, 1},  {"zero3-4", 4, 1, 1, 3, 1},  {"stages-2", 1, 2, 1, 0, 1},
    {"stages-4", 1, 4, 1, 1, 1}, {"chunks", 1, 2, 2, 0, 1},   {"mixed-1", 2, 2, 1, 1, 1},
    {"mixed-3", 2, 2, 2, 3, 1},  {"tensor-2", 1, 1, 1, 0, 2}, {"tensor-4", 2, 1, 1, 3, 4},
    {"all", 2, 2, 1, 2, 2},
};

// One of each kind.
constexpr StoredLayout kBf16Layouts[] = {{"one", 1, 1, 1, 0, 1},     {"data-2", 2, 1, 1, 0, 1},
                                         {"zero1-3", 3, 1, 1, 1, 1}, {"zero3-4", 4, 1, 1, 3, 1},
                                         {"mixed-3", 2, 2, 2, 3, 1}, {"tensor-2", 1, 1, 1, 0, 2}};

SmallJob stored_job(const StoredLayout& layout, DType precision) {
  SmallJob job;
  job.model.layers = 4;
  job.model.vocab = 60;
  job.options.zero_stage = layout.zero;
  job.options.num_chunks = layout.chunks;
  job.pipeline = layout.pipeline;
  job.tensor = layout.tensor;
  job.precision = precision;
  return job;
}

// `next_step`: the loaded state is trained on too, as the one that was saved was.
void expect_any_loads_any(std::span<const StoredLayout> layouts, DType precision, bool next_step) {
  const TemporaryDirectory directory;
  const std::string tokens = directory / "train.bin";
  write_random_tokens(tokens, 700, 60, 5);
  // Another tensor degree rounds differently, so each layout has a state of its own to be found
  // again; without one they are all the same.
  std::map<std::string, std::string> states, next_lines;
  for (const StoredLayout& from : layouts) {
    run_ranks(from.num_ranks(), {}, [&](Communicator& world) {
      SmallRank rank(stored_job(from, precision), tokens, world);
      rank.run(0, 2);
      CheckpointInfo info;
      info.step = 2;
      info.lineage = new_lineage();
      rank.engine().begin_capture();
      throw_if_error(rank.engine().wait_captured());
      const auto slices = rank.engine().owned_slices();
      FileWork work(posix_files(), {});
      throw_if_error(
          save_checkpoint(work, directory / from.name, info, slices, world, rank.stream()));
      const std::string digest = gathered_state_digest(rank.engine(), world, rank.stream());
      const std::string line = next_step ? rank.run(2, 3).front() : "";
      if (world.rank() != 0) return;
      states[from.name] = digest;
      next_lines[from.name] = line;
      if (from.tensor == 1) {
        EXPECT_EQ(digest, states["one"]) << from.name;
      }
    });
  }
  for (const StoredLayout& to : layouts) {
    run_ranks(to.num_ranks(), {}, [&](Communicator& world) {
      SmallRank rank(stored_job(to, precision), tokens, world);
      for (const StoredLayout& from : layouts) {
        throw_if_error(rank.engine().initialize());  // forget what was loaded before
        const std::string path =
            join_path(checkpoints_path(directory / from.name), checkpoint_name(2));
        const CheckpointHandle checkpoint = open_checkpoint(posix_files(), path).value();
        throw_if_error(load_checkpoint(posix_files(), checkpoint, rank.engine().needed_slices()));
        throw_if_error(rank.engine().finish_restore());
        const std::string digest = gathered_state_digest(rank.engine(), world, rank.stream());
        const std::string line = next_step ? rank.run(2, 3).front() : "";
        if (world.rank() != 0) continue;
        EXPECT_EQ(digest, states[from.name]) << to.name << " from " << from.name;
        if (from.tensor == to.tensor) {
          EXPECT_EQ(line, next_lines[from.name]) << to.name << " from " << from.name;
        }
      }
    });
  }
}

TEST(ReshardLayoutsTest, AnyLayoutLoadsWhatAnyOtherSaved) {
  expect_any_loads_any(kStoredLayouts, DType::kF32, false);
}

// What is computed with is not stored: it is rounded from the masters that were loaded.
TEST(ReshardLayoutsTest, InBf16AnyLayoutLoadsAndGoesOnFromWhatAnyOtherSaved) {
  expect_any_loads_any(kBf16Layouts, DType::kBf16, true);
}

}  // namespace
}  // namespace leasehold
