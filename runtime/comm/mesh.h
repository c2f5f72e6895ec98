// The ranks of a job arranged along named axes. A group of size 1 is never null: its operations are
// no-ops.
#pragma once

#include <array>
#include <memory>
#include <string>

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

// Place of a rank along each axis: tensor runs fastest (neighbours share a node's links), then
// data, then pipeline.
struct MeshCoordinates {
  int data = 0;
  int pipeline = 0;
  int tensor = 0;
};
MeshCoordinates coordinates_of(int rank, const MeshShape& shape);
int rank_of(const MeshCoordinates& coordinates, const MeshShape& shape);

class Mesh {
 public:
  // Collective over `world`, whose size must be the product of the axes (kBadConfig, saying which
  // sizes fit). `world` must outlive the mesh.
  static Result<Mesh> create(Communicator& world, const MeshShape& shape);

  // The place of rank `rank` without other ranks, for forecasts: groups know their rank and size
  // and perform nothing (create_planned_communicator).
  static Mesh planned(const MeshShape& shape, int rank);

  const MeshShape& shape() const { return shape_; }
  const MeshCoordinates& coordinates() const { return coordinates_; }
  Communicator& world() const { return *world_; }
  Communicator& group(Axis axis) const { return *groups_[static_cast<size_t>(axis)]; }
  // The pipeline axis once more: what flows back from later stages does not wait behind what flows
  // ahead.
  Communicator& pipeline_back() const { return *pipeline_back_; }

 private:
  Mesh(Communicator& world, const MeshShape& shape);

  std::unique_ptr<Communicator> planned_world_;
  Communicator* world_;
  MeshShape shape_;
  MeshCoordinates coordinates_;
  std::array<std::unique_ptr<Communicator>, kNumAxes> groups_;
  std::unique_ptr<Communicator> pipeline_back_;
};

}  // namespace leasehold
