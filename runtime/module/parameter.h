// A parameter of a model: a name that is stable for ever, a global logical shape, a placement, and
// views of its local value and gradients that the engine binds. The description (ParameterSpec) is
// pure: it needs no memory and no rank.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/comm/mesh.h"
#include "runtime/tensor/tensor.h"

namespace leasehold {

// How a parameter starts. Element i of the unsharded tensor is drawn for (job seed, parameter name,
// i).
struct Initializer {
  enum class Kind { kZero, kOne, kNormal };
  Kind kind = Kind::kZero;
  double standard_deviation = 0;  // kNormal, mean 0
};

// The mesh axis that shards each dim of the logical shape, if any. Equal parts; the axis size must
// divide the extent.
using Placement = std::array<std::optional<Axis>, Shape::kMaxDims>;

struct ParameterSpec {
  std::string name;  // "blocks.3.attention.qkv.weight"
  Shape shape;       // global, logical: every tensor-parallel slice is a box of it
  Placement placement{};
  Initializer initializer;
  bool decay = false;  // weight decay applies: matrices, not biases, gains or norms
  int num_gradient_slots =
      1;  // one per use of a tied weight; slots are summed alone and added last, in slot order
};

// One use of a parameter by a unit, by name.
struct UseSpec {
  std::string parameter;
  int slot = 0;  // the gradient slot that this use writes
  bool operator==(const UseSpec&) const = default;
};

// A unit of a model: what ZeRO materialises at a time, what gradients become ready by, and what
// pipeline stages are made of. Pure, like ParameterSpec.
struct UnitSpec {
  std::string name;           // "blocks.3"
  std::vector<UseSpec> uses;  // in order of use in forward
};

class Parameter {
 public:
  // `slots` as slots(); empty: all.
  Parameter(ParameterSpec spec, Shape local_shape, std::vector<int> slots = {})
      : spec_(std::move(spec)), local_shape_(local_shape), slots_(std::move(slots)) {
    gradients_.resize(static_cast<size_t>(spec_.num_gradient_slots));
    if (!slots_.empty()) return;
    for (int slot = 0; slot < spec_.num_gradient_slots; ++slot) slots_.push_back(slot);
  }

  const ParameterSpec& spec() const { return spec_; }
  const std::string& name() const { return spec_.name; }
  const Shape& local_shape() const { return local_shape_; }
  // The gradient slots that are written on this rank, ascending: all of them, unless pipeline
  // stages share a tied parameter.
  const std::vector<int>& slots() const { return slots_; }

  // Local views, local_shape(). Bound by the engine, possibly anew for each microbatch; absent
  // while not materialised.
  Tensor value() const { return value_; }
  Tensor gradient(int slot = 0) const { return gradients_[static_cast<size_t>(slot)]; }
  void bind_value(Tensor value) { value_ = value; }
  void bind_gradient(int slot, Tensor gradient) {
    gradients_[static_cast<size_t>(slot)] = gradient;
  }

 private:
  ParameterSpec spec_;
  Shape local_shape_;
  std::vector<int> slots_;
  Tensor value_;
  std::vector<Tensor> gradients_;
};

// The parameters of a model by name, in the order of the specs (which is the order of use in
// forward). Addresses are stable. kInternal on a name that is not there.
class ParameterTable {
 public:
  explicit ParameterTable(const std::vector<ParameterSpec>& specs, const MeshShape& mesh = {});
  // Of some of the parameters: `slots[i]` are the slots of specs[i] that are written here.
  ParameterTable(const std::vector<ParameterSpec>& specs,
                 const std::vector<std::vector<int>>& slots, const MeshShape& mesh);

  Parameter& at(const std::string& name);
  std::vector<std::unique_ptr<Parameter>>& all() { return parameters_; }
  const std::vector<std::unique_ptr<Parameter>>& all() const { return parameters_; }

 private:
  std::vector<std::unique_ptr<Parameter>> parameters_;
};

}  // namespace leasehold
