// Chooses the ranks of given hosts that train and their layout, so that every rank fits into the
// memory of its slot. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/leases/host_windows.h"
#include "launch/leases/layout.h"

namespace leasehold {

// The worlds that a job can train in.
struct LayoutLimits {
  int64_t min_world = 1;
  int64_t lanes = 1;   // the largest number of copies of the model
  int64_t tensor = 1;  // the job's tensor degree: a copy has tensor x pipeline ranks
  std::vector<Layout> layouts = {Layout{}};  // in order of preference; the job's own is first

  int64_t model_ranks(const Layout& layout) const { return tensor * layout.pipeline; }
  int64_t max_world(const Layout& layout) const { return lanes * model_ranks(layout); }
};

struct WorldOnHosts {
  struct Host {
    size_t index = 0;   // in the given hosts
    int64_t slots = 1;  // ranks on it
  };
  std::vector<Host> hosts;  // in the order of the given hosts
  int64_t world = 0;
  Layout layout;
  std::string why;  // the reason for this layout; empty if there was no choice to make
};

struct LayoutChoice {
  // Nullopt: too few ranks, nothing fits, or forecasts are missing.
  std::optional<WorldOnHosts> world;
  std::vector<LayoutOfWorld> unknown;  // the missing forecasts
  std::string why_not;                 // set if there is no world and no forecast is missing
};

// Takes hosts front to back, as whole copies of the model. It considers all hosts, then all but
// those whose slots have the least memory, and so on. For each such set it takes the first layout
// that fits into the smallest slot. Of these candidates the one with the fastest step
// (relative_step_time) wins; of equals, the one with more hosts. Hosts whose lease names no memory
// fit anything.
LayoutChoice choose_layout(std::span<const HostWindow> hosts, const LayoutLimits& limits,
                           const MemoryForecasts& forecasts);

}  // namespace leasehold
