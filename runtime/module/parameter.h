// A parameter of a model: a name that never changes, a global logical shape, a placement, and views
// of its local value and gradients, which the engine binds. The description (ParameterSpec) is
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

// The initial value of a parameter. Element i of the unsharded tensor is drawn for (job seed,
// parameter name, i).
struct Initializer {
  enum class Kind { kZero, kOne, kNormal };
  Kind kind = Kind::kZero;
  double standard_deviation = 0;  // kNormal, mean 0
};

// The mesh axis, if any, that shards each dim of the logical shape. The parts are equal: the axis
// size must divide the extent.
using Placement = std::array<std::optional<Axis>, Shape::kMaxDims>;

struct ParameterSpec {
  std::string name;  // "blocks.3.attention.qkv.weight"
  Shape shape;       // global and logical: every tensor-parallel slice is a box of it
  Placement placement{};
  Initializer initializer;
  bool decay = false;  // weight decay applies: to matrices, not to biases, gains or norms
  // One per use of a tied weight. Each slot is summed separately; the slots are added last, in
  // order.
  int num_gradient_slots = 1;
};

// One use of a parameter by a unit, with the parameter's name.
struct UseSpec {
  std::string parameter;
  int slot = 0;  // the gradient slot that this use writes
  bool operator==(const UseSpec&) const = default;
};

// A unit of a model: ZeRO materialises one unit at a time, gradients become ready by unit, and
// pipeline stages consist of units. Pure, like ParameterSpec.
struct UnitSpec {
  std::string name;           // "blocks.3"
  std::vector<UseSpec> uses;  // in order of use in forward
};

class Parameter {
 public:
  // Makes a parameter whose slots() are `slots`; all of them if `slots` is empty.
  Parameter(ParameterSpec spec, Shape local_shape, std::vector<int> slots = {})
      : spec_(std::move(spec)), local_shape_(local_shape), slots_(std::move(slots)) {
    gradients_.resize(static_cast<size_t>(spec_.num_gradient_slots));
    if (!slots_.empty()) return;
    for (int slot = 0; slot < spec_.num_gradient_slots; ++slot) slots_.push_back(slot);
  }

  const ParameterSpec& spec() const { return spec_; }
  const std::string& name() const { return spec_.name; }
  const Shape& local_shape() const { return local_shape_; }
  // Returns the gradient slots that are written on this rank, ascending: all of them, unless
  // pipeline stages share a tied parameter.
  const std::vector<int>& slots() const { return slots_; }

  // Return local views of shape local_shape(). The engine binds them, possibly anew for each
  // microbatch; they are absent while not materialised.
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

// A ParameterTable holds the parameters of a model by name, in the order of the specs (the order of
// use in forward). Addresses are stable. An unknown name throws (kInternal).
class ParameterTable {
 public:
  explicit ParameterTable(const std::vector<ParameterSpec>& specs, const MeshShape& mesh = {});
  // Makes a table of some of the parameters. `slots[i]` are the slots of specs[i] that this rank
  // writes.
  ParameterTable(const std::vector<ParameterSpec>& specs,
                 const std::vector<std::vector<int>>& slots, const MeshShape& mesh);

  Parameter& at(const std::string& name);
  std::vector<std::unique_ptr<Parameter>>& all() { return parameters_; }
  const std::vector<std::unique_ptr<Parameter>>& all() const { return parameters_; }

 private:
  std::vector<std::unique_ptr<Parameter>> parameters_;
};

}  // namespace leasehold
