// Which ranks of given hosts train, and in which layout, so that what a rank needs fits into its
// slot: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/leases/host_windows.h"
#include "launch/leases/layout.h"

namespace leasehold {

// What worlds a job can train in.
struct LayoutLimits {
  int64_t min_world = 1;
  int64_t lanes = 1;   // copies of the model that can take part at most
  int64_t tensor = 1;  // the job's tensor degree: a copy has tensor x pipeline ranks
  std::vector<Layout> layouts = {Layout{}};  // in order of preference, the job's own first

  int64_t model_ranks(const Layout& layout) const { return tensor * layout.pipeline; }
  int64_t max_world(const Layout& layout) const { return lanes * model_ranks(layout); }
};

struct WorldOnHosts {
  struct Host {
    size_t index = 0;   // in the hosts that were given
    int64_t slots = 1;  // ranks on it
  };
  std::vector<Host> hosts;  // in the order of the hosts given
  int64_t world = 0;
  Layout layout;
  std::string why;  // this layout; empty when nothing had to be weighed
};

struct LayoutChoice {
  std::optional<WorldOnHosts> world;   // none: it has too few ranks, does not fit, or is not known
  std::vector<LayoutOfWorld> unknown;  // forecasts that have to be made before it is known
  std::string why_not;                 // when there is no world and nothing is unknown
};

// Takes hosts front to back, as whole copies of the model. With all hosts, and without those whose
// slots have the least memory, and so on, the first layout that fits into the smallest slot taken
// is weighed: the one with the fastest step (relative_step_time) wins, of equals the one with more
// hosts. Hosts whose lease names no memory fit anything.
LayoutChoice choose_layout(std::span<const HostWindow> hosts, const LayoutLimits& limits,
                           const MemoryForecasts& forecasts);

}  // namespace leasehold
