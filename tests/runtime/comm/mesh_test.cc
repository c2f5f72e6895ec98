#include "runtime/comm/mesh.h"

#include <gtest/gtest.h>
#include <set>

#include "collectives/threads.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {
namespace {

const MeshShape kShapes[] = {{.data = 1},
                             {.data = 5},
                             {.data = 2, .pipeline = 3},
                             {.data = 2, .tensor = 2},
                             {.data = 2, .pipeline = 2, .tensor = 3},
                             {.pipeline = 4},
                             {.tensor = 3}};

TEST(Mesh, CoordinatesAndRanksAreInverse) {
  for (const MeshShape& shape : kShapes) {
    std::set<std::tuple<int, int, int>> places;
    for (int rank = 0; rank < shape.num_ranks(); ++rank) {
      const MeshCoordinates at = coordinates_of(rank, shape);
      EXPECT_TRUE(at.data >= 0 && at.data < shape.data && at.pipeline >= 0 &&
                  at.pipeline < shape.pipeline && at.tensor >= 0 && at.tensor < shape.tensor);
      EXPECT_EQ(rank_of(at, shape), rank);
      places.insert({at.data, at.pipeline, at.tensor});
    }
    EXPECT_EQ(places.size(), static_cast<size_t>(shape.num_ranks()));
  }
}

TEST(Mesh, TensorRunsFastestThenDataThenPipeline) {
  const MeshShape shape{.data = 3, .pipeline = 2, .tensor = 2};
  EXPECT_EQ(rank_of({.tensor = 1}, shape), 1);
  EXPECT_EQ(rank_of({.data = 1}, shape), 2);
  EXPECT_EQ(rank_of({.pipeline = 1}, shape), 6);
}

// The sum of the members' world ranks over an axis tells who is in the group.
int expected_sum(int world_rank, const MeshShape& shape, Axis axis) {
  const MeshCoordinates own = coordinates_of(world_rank, shape);
  int sum = 0;
  for (int rank = 0; rank < shape.num_ranks(); ++rank) {
    const MeshCoordinates at = coordinates_of(rank, shape);
    const bool same_data = axis == Axis::kData || at.data == own.data;
    const bool same_pipeline = axis == Axis::kPipeline || at.pipeline == own.pipeline;
    const bool same_tensor = axis == Axis::kTensor || at.tensor == own.tensor;
    if (same_data && same_pipeline && same_tensor) sum += rank;
  }
  return sum;
}

TEST(Mesh, EveryAxisGroupsThoseWhoDifferInItAlone) {
  for (const MeshShape& shape : kShapes) {
    run_ranks(shape.num_ranks(), {}, [&](Communicator& world) {
      const Mesh mesh = Mesh::create(world, shape).value();
      const auto device = CpuDevice::create({});
      const auto stream = device->create_stream("stream").value();
      for (const Axis axis : {Axis::kData, Axis::kPipeline, Axis::kTensor}) {
        Communicator& group = mesh.group(axis);
        const MeshCoordinates& at = mesh.coordinates();
        const int place = axis == Axis::kData       ? at.data
                          : axis == Axis::kPipeline ? at.pipeline
                                                    : at.tensor;
        EXPECT_EQ(group.size(), shape.size(axis));
        EXPECT_EQ(group.rank(), place);
        EXPECT_EQ(group.name(), axis_name(axis));
        int32_t sum = world.rank();
        const Tensor data(&sum, DType::kI32, {1});
        ASSERT_TRUE(
            group.all_reduce(data, ReduceOp::kSum, *stream).wait(Deadline::after_s(20)).ok());
        EXPECT_EQ(sum, expected_sum(world.rank(), shape, axis));
      }
    });
  }
}

TEST(Mesh, AxesThatDoNotFillTheWorldAreRefused) {
  run_ranks(4, {}, [&](Communicator& world) {
    for (const MeshShape& shape : {MeshShape{.data = 3}, MeshShape{.data = 2, .tensor = 3},
                                   MeshShape{.data = 0}, MeshShape{.data = -2, .pipeline = -2}}) {
      const auto mesh = Mesh::create(world, shape);
      ASSERT_FALSE(mesh.ok());
      EXPECT_EQ(mesh.status().code(), Code::kBadConfig);
      EXPECT_NE(mesh.status().message().find("parallel.tensor"), std::string::npos)
          << mesh.status().message();
    }
  });
}

}  // namespace
}  // namespace leasehold
