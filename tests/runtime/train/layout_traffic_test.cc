// What a step sends, rank by rank, is what the layout's formula says. With D data ranks, a rank's
// shard of s bytes (s' with further gradient slots), R rounds of microbatches, F = N C elements
// between stages:
//   data axis, ZeRO 0 and 1: roots (D - 1) s' for the sums, (D - 1) s for what comes back
//   ZeRO 2: R (D - 1) s' and (D - 1) s
//   ZeRO 3: R (D - 1) s', and (D - 1) (2 R U - R turn - (R - 1) turn') for weights: U the shards of
//     all units; turn those of the last two, which are still there when backward begins; turn'
//     those of the first two, which are when the next forward does
//   pipeline axis: F per microbatch and part that is not the last, ahead; as much back
//   tensor axis: models/describe_tensor.h per microbatch, and the sums of what it does not cut
// In bf16 weights and F have elements of 2 bytes; gradients, which ZeRO 0 gathers, stay fp32.
#include <gtest/gtest.h>
#include <set>

#include "collectives/threads.h"
#include "models/describe_tensor.h"
#include "models/gpt.h"
#include "runtime/train/rank_parts.h"
#include "tests/support/counting_communicator.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

struct TrafficLayout {
  int data = 1, pipeline = 1, chunks = 1, zero = 0, tensor = 1;
  DType precision = DType::kF32;
};

constexpr int64_t kMicrobatches = 8;

SmallJob traffic_job(const TrafficLayout& layout) {
  SmallJob job;
  job.model.layers = 4;
  job.model.vocab = 60;
  job.options.zero_stage = layout.zero;
  job.options.num_chunks = layout.chunks;
  job.pipeline = layout.pipeline;
  job.tensor = layout.tensor;
  job.precision = layout.precision;
  return job;
}

// Bytes that the data axis' rank of a part receives of one unit's weights from each other rank.
int64_t unit_bytes(const RankPart& part, size_t unit, int64_t element_bytes) {
  std::set<int> buckets;
  for (const PartUse& use : part.plan.uses[unit]) {
    for (const int bucket : part.layout.buckets_of(use.parameter, 0)) buckets.insert(bucket);
  }
  int64_t elements = 0;
  for (const int bucket : buckets)
    elements += part.layout.buckets[static_cast<size_t>(bucket)].shard_elements;
  return element_bytes * elements;
}

class LayoutTrafficTest : public testing::TestWithParam<TrafficLayout> {};

TEST_P(LayoutTrafficTest, IsWhatTheFormulaSays) {
  const TrafficLayout& layout = GetParam();
  const SmallJob job = traffic_job(layout);
  const TemporaryDirectory directory;
  const std::string tokens = directory / "train.bin";
  write_random_tokens(tokens, 700, 60, 5);
  const int64_t N = job.options.B * job.options.T;
  const auto parts = cut_model(describe_parameters(job.model), describe_units(job.model),
                               layout.pipeline * layout.chunks)
                         .value();
  run_ranks(layout.data * layout.pipeline * layout.tensor, {}, [&](Communicator& world) {
    CommunicationCounts counts;
    const auto counting = create_counting_communicator(world, counts);
    SmallRank rank(job, tokens, *counting);
    rank.run(0, 1);
    counts.reset();
    rank.run(1, 2);

    const MeshShape shape = job.mesh_of(world.size());
    const MeshCoordinates at = coordinates_of(world.rank(), shape);
    const int64_t rounds = kMicrobatches / layout.data;
    const int64_t e = size_of(layout.precision);
    int64_t data = 0, ahead = 0, back = 0, tied = 0;
    for (int chunk = 0; chunk < layout.chunks; ++chunk) {
      const int i = chunk * layout.pipeline + at.pipeline;
      const bool is_last = i + 1 == layout.pipeline * layout.chunks;
      const RankPart part(parts[static_cast<size_t>(i)], shape, job.options, layout.zero);
      const int64_t shard = 4 * part.layout.num_shard_elements;
      const int64_t all_shard = 4 * part.layout.num_all_shard_elements;
      data += (layout.data - 1) * all_shard * (layout.zero >= 2 ? rounds : 1);
      if (layout.zero < 3) data += (layout.data - 1) * shard / 4 * (layout.zero == 0 ? 4 : e);
      if (layout.zero == 3) {
        const size_t units = part.plan.uses.size();
        int64_t fetched = 0;
        for (size_t unit = 0; unit < units; ++unit)
          fetched += 2 * rounds * unit_bytes(part, unit, e);
        if (layout.pipeline == 1) {
          fetched -= rounds * (unit_bytes(part, units - 1, e) + unit_bytes(part, units - 2, e));
          fetched -= (rounds - 1) * (unit_bytes(part, 0, e) + unit_bytes(part, 1, e));
        }
        data += (layout.data - 1) * fetched;
      }
      const int64_t message = e * N * job.model.hidden / layout.tensor;
      if (!is_last) ahead += rounds * message;
      if (i > 0) back += rounds * message;
      if (layout.pipeline > 1 && (i == 0 || is_last)) {
        ASSERT_EQ(part.layout.parameters[0].name, "embedding.token.weight");
        for (const int b : part.layout.buckets_of(0, 0))
          tied += 4 * part.layout.buckets[static_cast<size_t>(b)].shard_elements;
      }
    }
    // Interleaved and 1F1B stages go from the last unit's forward straight to its backward only at
    // the end of the pipeline, so sharded pipelines are bounded, not equal.
    if (layout.zero == 3 && layout.pipeline > 1) {
      EXPECT_LE(counts.of("data").bytes_sent, data);
      EXPECT_GT(counts.of("data").bytes_sent, data / 2);
    } else {
      EXPECT_EQ(counts.of("data").bytes_sent, data);
    }
    EXPECT_EQ(counts.of("pipeline").bytes_sent, ahead + tied);
    EXPECT_EQ(counts.of("pipeline, back").bytes_sent, back);
    if (layout.tensor == 1 || layout.pipeline > 1) return;
    const int64_t model =
        rounds * tensor_bytes_sent(job.model, N, layout.tensor, Recompute::kNone, e);
    // What is not cut: norms (18 vectors of C with their biases), projections' biases, positions.
    const RankPart part(parts[0], shape, job.options, layout.zero);
    int64_t replicated = 0;
    for (const OwnedRange& range : part.layout.owned_by(at.data)) {
      const Parameter& parameter = *part.table.all()[static_cast<size_t>(range.parameter)];
      if (parameter.local_shape() == parameter.spec().shape) replicated += 4 * range.count;
    }
    EXPECT_EQ(counts.of("tensor").bytes_sent, model + (layout.tensor - 1) * replicated);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Table, LayoutTrafficTest,
    testing::Values(TrafficLayout{}, TrafficLayout{.data = 2}, TrafficLayout{.data = 4, .zero = 1},
                    TrafficLayout{.data = 2, .zero = 2}, TrafficLayout{.data = 4, .zero = 3},
                    TrafficLayout{.pipeline = 2}, TrafficLayout{.pipeline = 2, .chunks = 2},
                    TrafficLayout{.data = 2, .pipeline = 4, .zero = 1},
                    TrafficLayout{.data = 2, .pipeline = 2, .zero = 3}, TrafficLayout{.tensor = 2},
                    TrafficLayout{.data = 2, .zero = 1, .tensor = 4},
                    TrafficLayout{.data = 2, .precision = DType::kBf16},
                    TrafficLayout{.data = 2, .pipeline = 2, .zero = 1, .precision = DType::kBf16},
                    TrafficLayout{.data = 4, .zero = 3, .precision = DType::kBf16},
                    TrafficLayout{.data = 2, .zero = 2, .tensor = 2, .precision = DType::kBf16}));

}  // namespace
}  // namespace leasehold
