#include "collectives/nccl_forecast.h"

#include <set>
#include <tuple>

namespace leasehold {

NcclForecast forecast_nccl(const MeshShape& shape, const MeshCoordinates& at, int chunks,
                           bool tied) {
  NcclForecast forecast;
  forecast.axes = (shape.data > 1 ? 1 : 0) + (shape.tensor > 1 ? 1 : 0);
  const int stages = shape.pipeline;
  if (stages == 1) return forecast;
  enum class Group { kAhead, kBack };
  std::set<std::tuple<Group, int, bool>> lanes;  // of a group, to (true) or from a stage
  const int last = stages - 1;
  const bool is_ring = chunks > 1;
  const int next = (at.pipeline + 1) % stages;
  const int before = (at.pipeline + stages - 1) % stages;
  if (at.pipeline < last || is_ring) {
    lanes.insert({Group::kAhead, next, true});
    lanes.insert({Group::kBack, next, false});
  }
  if (at.pipeline > 0 || is_ring) {
    lanes.insert({Group::kAhead, before, false});
    lanes.insert({Group::kBack, before, true});
  }
  if (tied && (at.pipeline == 0 || at.pipeline == last)) {
    const int other = last - at.pipeline;
    lanes.insert({Group::kAhead, other, true});
    lanes.insert({Group::kAhead, other, false});
  }
  forecast.lanes = static_cast<int>(lanes.size());
  return forecast;
}

}  // namespace leasehold
