// Arranges the ranks of a job along named axes. A group of size 1 is never null: its operations do
// nothing. The groups of the pipeline axis carry messages alone.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

enum class Axis { kData = 0, kPipeline = 1, kTensor = 2 };
inline constexpr int kNumAxes = 3;
const char* axis_name(Axis axis);  // "data", "pipeline", "tensor"

struct MeshShape {
  int data = 1;
  int pipeline = 1;
  int tensor = 1;
  int size(Axis axis) const;
  int num_ranks() const { return data * pipeline * tensor; }
};

// The place of a rank along each axis. Tensor runs fastest (neighbours share a node's links), then
// data, then pipeline.
struct MeshCoordinates {
  int data = 0;
  int pipeline = 0;
  int tensor = 0;
};
MeshCoordinates coordinates_of(int rank, const MeshShape& shape);
int rank_of(const MeshCoordinates& coordinates, const MeshShape& shape);

// The operations that a group is made for. One for messages refuses collectives.
enum class GroupUse {
  kAll,
  kMessagesAhead,  // mostly to the next rank
  kMessagesBack,   // mostly to the rank before
};

class Mesh {
 public:
  // Makes, from a group of host memory, the group of the same ranks whose operations run on a
  // device's streams. Collective over the host group, which must outlive the result.
  using GroupMaker =
      std::function<Result<std::unique_ptr<Communicator>>(Communicator& host_group, GroupUse use)>;

  // Makes the mesh. Collective over `world`, whose size must be the product of the axes
  // (kBadConfig, with the sizes that fit). `world` must outlive the mesh. `make` makes the axes'
  // groups out of parts of the world; without `make` the parts themselves are the groups.
  static Result<Mesh> create(Communicator& world, const MeshShape& shape,
                             const GroupMaker& make = nullptr);

  // Returns the place of rank `rank` without other ranks, for forecasts. The groups know their rank
  // and size but perform nothing (create_planned_communicator).
  static Mesh planned(const MeshShape& shape, int rank);
  // The same for rehearsals: operations are done at once and move nothing
  // (create_idle_communicator).
  static Mesh idle(const MeshShape& shape, int rank);

  const MeshShape& shape() const { return shape_; }
  const MeshCoordinates& coordinates() const { return coordinates_; }
  // Returns the group of all ranks. It is always of host memory, on streams of the CPU.
  Communicator& world() const { return *world_; }
  Communicator& group(Axis axis) const { return *groups_[static_cast<size_t>(axis)]; }
  // Returns a second group along the pipeline axis, for data that flows back from later stages: it
  // does not queue after data that flows ahead.
  Communicator& pipeline_back() const { return *pipeline_back_; }
  // Returns how many of the device's library (NCCL) this rank's groups have made so far.
  int num_device_communicators() const;

 private:
  using Stub = std::unique_ptr<Communicator> (*)(int rank, int size, const std::string& name);
  Mesh(Communicator& world, const MeshShape& shape);
  static Mesh of_stubs(const MeshShape& shape, int rank, Stub create);

  std::unique_ptr<Communicator> planned_world_;
  Communicator* world_;
  MeshShape shape_;
  MeshCoordinates coordinates_;
  // The groups that the others were made of.
  std::vector<std::unique_ptr<Communicator>> host_groups_;
  std::array<std::unique_ptr<Communicator>, kNumAxes> groups_;
  std::unique_ptr<Communicator> pipeline_back_;
};

}  // namespace leasehold
