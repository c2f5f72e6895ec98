// A checkpoint of any layout loads under any other, and is the same state.
#include <gtest/gtest.h>

#include "collectives/threads.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/durable.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

struct Layout {
  const char* name;
  int data, pipeline, chunks, zero;
  int num_ranks() const { return data * pipeline; }
};

constexpr Layout kLayouts[] = {
    {"one", 1, 1, 1, 0},      {"data-2", 2, 1, 1, 0},  {"zero1-3", 3, 1, 1, 1},
    {"zero2-2", 2, 1, 1, 2},  {"zero3-4", 4, 1, 1, 3}, {"stages-2", 1, 2, 1, 0},
    {"stages-4", 1, 4, 1, 1}, {"chunks", 1, 2, 2, 0},  {"mixed-1", 2, 2, 1, 1},
    {"mixed-3", 2, 2, 2, 3},
};

SmallJob job_of(const Layout& layout) {
  SmallJob job;
  job.model.layers = 4;
  job.options.zero_stage = layout.zero;
  job.options.num_chunks = layout.chunks;
  job.pipeline = layout.pipeline;
  return job;
}

TEST(ReshardLayoutsTest, AnyLayoutLoadsWhatAnyOtherSaved) {
  const TemporaryDirectory directory;
  const std::string tokens = directory / "train.bin";
  write_random_tokens(tokens, 700, 61, 5);
  const auto deadline = [] { return Deadline::after_s(60); };
  std::string state;
  for (const Layout& from : kLayouts) {
    run_ranks(from.num_ranks(), {}, [&](Communicator& world) {
      SmallRank rank(job_of(from), tokens, world);
      rank.run(0, 2);
      CheckpointInfo info;
      info.step = 2;
      info.lineage = new_lineage();
      const auto slices = rank.engine().owned_slices();
      throw_if_error(save_checkpoint(posix_files(), directory / from.name, info, slices, world,
                                     rank.stream(), deadline()));
      const std::string digest = gathered_state_digest(rank.engine(), world, rank.stream());
      if (world.rank() != 0) return;
      if (state.empty()) state = digest;
      EXPECT_EQ(digest, state) << from.name;
    });
  }
  for (const Layout& to : kLayouts) {
    run_ranks(to.num_ranks(), {}, [&](Communicator& world) {
      SmallRank rank(job_of(to), tokens, world);
      for (const Layout& from : kLayouts) {
        throw_if_error(rank.engine().initialize());  // forget what was loaded before
        const std::string path =
            join_path(checkpoints_path(directory / from.name), checkpoint_name(2));
        const CheckpointHandle checkpoint = open_checkpoint(posix_files(), path).value();
        throw_if_error(load_checkpoint(posix_files(), checkpoint, rank.engine().needed_slices()));
        throw_if_error(rank.engine().finish_restore());
        const std::string digest = gathered_state_digest(rank.engine(), world, rank.stream());
        if (world.rank() == 0) {
          EXPECT_EQ(digest, state) << to.name << " from " << from.name;
        }
      }
    });
  }
}

}  // namespace
}  // namespace leasehold
