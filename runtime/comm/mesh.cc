#include "runtime/comm/mesh.h"

#include "runtime/comm/planned_communicator.h"

namespace leasehold {

const char* axis_name(Axis axis) {
  switch (axis) {
    case Axis::kData:
      return "data";
    case Axis::kPipeline:
      return "pipeline";
    case Axis::kTensor:
      return "tensor";
  }
  return "?";
}

int MeshShape::size(Axis axis) const {
  switch (axis) {
    case Axis::kData:
      return data;
    case Axis::kPipeline:
      return pipeline;
    case Axis::kTensor:
      return tensor;
  }
  return 1;
}

MeshCoordinates coordinates_of(int rank, const MeshShape& shape) {
  return {.data = rank / shape.tensor % shape.data,
          .pipeline = rank / (shape.tensor * shape.data),
          .tensor = rank % shape.tensor};
}

int rank_of(const MeshCoordinates& coordinates, const MeshShape& shape) {
  return (coordinates.pipeline * shape.data + coordinates.data) * shape.tensor + coordinates.tensor;
}

Mesh::Mesh(Communicator& world, const MeshShape& shape)
    : world_(&world), shape_(shape), coordinates_(coordinates_of(world.rank(), shape)) {}

Result<Mesh> Mesh::create(Communicator& world, const MeshShape& shape, const GroupMaker& make) {
  const int model_ranks = shape.pipeline * shape.tensor;
  if (shape.data < 1 || shape.pipeline < 1 || shape.tensor < 1 ||
      shape.num_ranks() != world.size()) {
    return error(Code::kBadConfig,
                 "{} ranks cannot be data {} x pipeline {} x tensor {}: start a multiple of {} "
                 "ranks, or change "
                 "parallel.pipeline and parallel.tensor",
                 world.size(), shape.data, shape.pipeline, shape.tensor, model_ranks);
  }
  Mesh mesh(world, shape);
  const auto split = [&](Axis axis, const std::string& name,
                         GroupUse use) -> Result<std::unique_ptr<Communicator>> {
    // The group is named after its member at 0 along the axis.
    MeshCoordinates first = mesh.coordinates_;
    if (axis == Axis::kData) first.data = 0;
    if (axis == Axis::kPipeline) first.pipeline = 0;
    if (axis == Axis::kTensor) first.tensor = 0;
    auto group = world.split(rank_of(first, shape), world.rank(), name);
    if (!group.ok() || !make) return group;
    mesh.host_groups_.push_back(std::move(group).value());
    return make(*mesh.host_groups_.back(), use);
  };
  for (const Axis axis : {Axis::kData, Axis::kPipeline, Axis::kTensor}) {
    const GroupUse use = axis == Axis::kPipeline ? GroupUse::kMessagesAhead : GroupUse::kAll;
    LEASEHOLD_ASSIGN_OR_RETURN(mesh.groups_[static_cast<size_t>(axis)],
                               split(axis, axis_name(axis), use));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(mesh.pipeline_back_,
                             split(Axis::kPipeline, "pipeline, back", GroupUse::kMessagesBack));
  return mesh;
}

int Mesh::num_device_communicators() const {
  int count = pipeline_back_->num_device_communicators();
  for (const auto& group : groups_) count += group->num_device_communicators();
  return count;
}

Mesh Mesh::planned(const MeshShape& shape, int rank) {
  return of_stubs(shape, rank, create_planned_communicator);
}

Mesh Mesh::idle(const MeshShape& shape, int rank) {
  return of_stubs(shape, rank, create_idle_communicator);
}

Mesh Mesh::of_stubs(const MeshShape& shape, int rank, Stub create) {
  auto world = create(rank, shape.num_ranks(), "world");
  Mesh mesh(*world, shape);
  mesh.planned_world_ = std::move(world);
  const MeshCoordinates& at = mesh.coordinates_;
  const auto plan = [&](Axis axis, int place) {
    mesh.groups_[static_cast<size_t>(axis)] = create(place, shape.size(axis), axis_name(axis));
  };
  plan(Axis::kData, at.data);
  plan(Axis::kPipeline, at.pipeline);
  plan(Axis::kTensor, at.tensor);
  mesh.pipeline_back_ = create(at.pipeline, shape.pipeline, "pipeline, back");
  return mesh;
}

}  // namespace leasehold
