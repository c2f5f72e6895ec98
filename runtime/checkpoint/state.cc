#include "runtime/checkpoint/state.h"

namespace leasehold {

const char* state_kind_name(StateKind kind) {
  switch (kind) {
    case StateKind::kWeight:
      return "weight";
    case StateKind::kMoment1:
      return "m";
    case StateKind::kMoment2:
      return "v";
  }
  return "unknown kind";
}

Result<StateKind> parse_state_kind(std::string_view name) {
  for (const StateKind kind : kStateKinds) {
    if (name == state_kind_name(kind)) return kind;
  }
  return error(Code::kBadData, "'{}' is no kind of state: weight, m or v expected", name);
}

Box Box::whole(const Shape& shape) {
  Box box;
  box.extent = shape;
  return box;
}

}  // namespace leasehold
