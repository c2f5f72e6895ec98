// A checkpoint of any layout loads under any other, and is the same state.
#include <gtest/gtest.h>
#include <map>

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

SmallJob stored_job(const StoredLayout& layout) {
  SmallJob job;
  job.model.layers = 4;
  job.model.vocab = 60;
  job.options.zero_stage = layout.zero;
  job.options.num_chunks = layout.chunks;
  job.pipeline = layout.pipeline;
  job.tensor = layout.tensor;
  return job;
}

TEST(ReshardLayoutsTest, AnyLayoutLoadsWhatAnyOtherSaved) {
  const TemporaryDirectory directory;
  const std::string tokens = directory / "train.bin";
  write_random_tokens(tokens, 700, 60, 5);
  const auto deadline = [] { return Deadline::after_s(60); };
  // Another tensor degree rounds differently, so each layout has a state of its own to be found
  // again; without one they are all the same.
  std::map<std::string, std::string> states;
  for (const StoredLayout& from : kStoredLayouts) {
    run_ranks(from.num_ranks(), {}, [&](Communicator& world) {
      SmallRank rank(stored_job(from), tokens, world);
      rank.run(0, 2);
      CheckpointInfo info;
      info.step = 2;
      info.lineage = new_lineage();
      const auto slices = rank.engine().owned_slices();
      throw_if_error(save_checkpoint(posix_files(), directory / from.name, info, slices, world,
                                     rank.stream(), deadline()));
      const std::string digest = gathered_state_digest(rank.engine(), world, rank.stream());
      if (world.rank() != 0) return;
      states[from.name] = digest;
      if (from.tensor == 1) {
        EXPECT_EQ(digest, states["one"]) << from.name;
      }
    });
  }
  for (const StoredLayout& to : kStoredLayouts) {
    run_ranks(to.num_ranks(), {}, [&](Communicator& world) {
      SmallRank rank(stored_job(to), tokens, world);
      for (const StoredLayout& from : kStoredLayouts) {
        throw_if_error(rank.engine().initialize());  // forget what was loaded before
        const std::string path =
            join_path(checkpoints_path(directory / from.name), checkpoint_name(2));
        const CheckpointHandle checkpoint = open_checkpoint(posix_files(), path).value();
        throw_if_error(load_checkpoint(posix_files(), checkpoint, rank.engine().needed_slices()));
        throw_if_error(rank.engine().finish_restore());
        const std::string digest = gathered_state_digest(rank.engine(), world, rank.stream());
        if (world.rank() == 0) {
          EXPECT_EQ(digest, states[from.name]) << to.name << " from " << from.name;
        }
      }
    });
  }
}

}  // namespace
}  // namespace leasehold
