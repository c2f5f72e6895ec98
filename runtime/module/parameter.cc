#include "runtime/module/parameter.h"

namespace leasehold {

namespace {

Shape local_shape(const ParameterSpec& spec, const MeshShape& mesh) {
  std::array<int64_t, Shape::kMaxDims> extents{};
  for (int dim = 0; dim < spec.shape.num_dims(); ++dim) {
    const auto axis = spec.placement[static_cast<size_t>(dim)];
    const int64_t parts = axis ? mesh.size(*axis) : 1;
    LEASEHOLD_CHECK(spec.shape[dim] % parts == 0, "{}: dim {} of {} cut into {}", spec.name, dim,
                    spec.shape.to_string(), parts);
    extents[static_cast<size_t>(dim)] = spec.shape[dim] / parts;
  }
  return Shape(
      std::span<const int64_t>(extents.data(), static_cast<size_t>(spec.shape.num_dims())));
}

}  // namespace

ParameterTable::ParameterTable(const std::vector<ParameterSpec>& specs, const MeshShape& mesh) {
  for (const ParameterSpec& spec : specs) {
    parameters_.push_back(std::make_unique<Parameter>(spec, local_shape(spec, mesh)));
  }
}

ParameterTable::ParameterTable(const std::vector<ParameterSpec>& specs,
                               const std::vector<std::vector<int>>& slots, const MeshShape& mesh) {
  for (size_t i = 0; i < specs.size(); ++i) {
    parameters_.push_back(
        std::make_unique<Parameter>(specs[i], local_shape(specs[i], mesh), slots[i]));
  }
}

Parameter& ParameterTable::at(const std::string& name) {
  for (auto& parameter : parameters_) {
    if (parameter->name() == name) return *parameter;
  }
  throw StatusError(error(Code::kInternal, "there is no parameter '{}'", name));
}

}  // namespace leasehold
