// What a checkpoint holds, in terms that no layout shows through: for each parameter its fp32
// master weight and AdamW moments, as pieces that know their parameter, global shape, box and
// range, and are never named after a rank.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor/tensor.h"

namespace leasehold {

enum class StateKind { kWeight, kMoment1, kMoment2 };
inline constexpr std::array<StateKind, 3> kStateKinds = {StateKind::kWeight, StateKind::kMoment1,
                                                         StateKind::kMoment2};
const char* state_kind_name(StateKind kind);  // "weight", "m", "v"
Result<StateKind> parse_state_kind(std::string_view name);

// A box inside a global shape: per dim an offset and an extent.
struct Box {
  std::array<int64_t, Shape::kMaxDims> offset{};
  Shape extent;

  static Box whole(const Shape& shape);
  bool operator==(const Box&) const = default;
};

// One rank's part of one tensor of the state: elements [begin, begin + data.num_elements()) of the
// box, row-major. With data parallelism alone the box is the whole parameter and ZeRO cuts the
// range; tensor parallelism cuts the box.
struct StateSlice {
  std::string parameter;
  StateKind kind = StateKind::kWeight;
  Shape global_shape;
  Box box;
  int64_t begin = 0;
  Tensor data;  // (n) f32, host memory
};

}  // namespace leasehold
