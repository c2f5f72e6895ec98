#include "launch/leases/layout_choice.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace leasehold {

namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

int64_t slot_memory(const HostWindow& host) {
  const int64_t bytes = host.lease->memory_per_slot_bytes;
  return bytes > 0 ? bytes : kUnlimited;
}

// Returns the different memory sizes of the slots, ascending.
std::set<int64_t> memory_classes(std::span<const HostWindow> hosts) {
  std::set<int64_t> classes;
  for (const HostWindow& host : hosts) classes.insert(slot_memory(host));
  return classes;
}

// As many whole copies of the model as fit on the hosts with enough memory. world = 0: none fits.
struct Deal {
  WorldOnHosts on;
  size_t smallest = 0;  // the host whose slots have the least memory
};

Deal deal(std::span<const HostWindow> hosts, const LayoutLimits& limits, const Layout& layout,
          int64_t least_memory) {
  int64_t slots = 0;
  for (const HostWindow& host : hosts) {
    if (slot_memory(host) >= least_memory) slots += host.lease->slots;
  }
  const int64_t copy = limits.model_ranks(layout);
  Deal dealt;
  dealt.on.layout = layout;
  dealt.on.world = std::min(slots, limits.max_world(layout)) / copy * copy;
  int64_t left = dealt.on.world;
  for (size_t i = 0; i < hosts.size() && left > 0; ++i) {
    if (slot_memory(hosts[i]) < least_memory) continue;
    if (dealt.on.hosts.empty() || slot_memory(hosts[i]) < slot_memory(hosts[dealt.smallest])) {
      dealt.smallest = i;
    }
    dealt.on.hosts.push_back({i, std::min(hosts[i].lease->slots, left)});
    left -= dealt.on.hosts.back().slots;
  }
  return dealt;
}

double step_time(const WorldOnHosts& on, const LayoutLimits& limits) {
  return relative_step_time(on.layout, limits.lanes, on.world / limits.model_ranks(on.layout));
}

// Tries the layouts on the hosts whose slots have at least a given amount of memory.
class Search {
 public:
  Search(std::span<const HostWindow> hosts, const LayoutLimits& limits,
         const MemoryForecasts& forecasts)
      : hosts_(hosts), limits_(limits), forecasts_(forecasts) {}

  void look(int64_t least_memory) {
    std::optional<WorldOnHosts> first;
    std::string preferred;  // the preferred layout that does not fit
    for (const Layout& layout : limits_.layouts) {
      Deal dealt = deal(hosts_, limits_, layout, least_memory);
      if (dealt.on.world < std::max<int64_t>(1, limits_.min_world)) continue;
      const int64_t memory = slot_memory(hosts_[dealt.smallest]);
      if (memory == kUnlimited) {
        first = std::move(dealt.on);
        break;
      }
      const auto known = forecasts_.find({dealt.on.world, layout});
      if (known == forecasts_.end()) {
        choice_.unknown.push_back({dealt.on.world, layout});
        continue;
      }
      const std::string need =
          fmt::format("{} needs {} a rank", in_words(layout), memory_in_words(known->second));
      if (known->second <= memory) {
        first = std::move(dealt.on);
        first->why = fmt::format("{} of {}'s {}{}{}", need, hosts_[dealt.smallest].host,
                                 memory_in_words(memory), preferred.empty() ? "" : ", ", preferred);
        break;
      }
      if (preferred.empty()) preferred = need;
      if (known->second < least_need_) {
        least_need_ = known->second;
        choice_.why_not =
            fmt::format("{} ranks fit in no layout: {}, the least of all, and a slot of {} has {}",
                        dealt.on.world, need, hosts_[dealt.smallest].host, memory_in_words(memory));
      }
    }
    if (!first) return;
    const bool better =
        !choice_.world || step_time(*first, limits_) < step_time(*choice_.world, limits_);
    if (better) choice_.world = std::move(first);
  }

  LayoutChoice take() {
    // A layout whose forecast is missing could be the better one.
    if (!choice_.unknown.empty()) choice_.world.reset();
    return std::move(choice_);
  }

 private:
  std::span<const HostWindow> hosts_;
  const LayoutLimits& limits_;
  const MemoryForecasts& forecasts_;
  LayoutChoice choice_;
  int64_t least_need_ = kUnlimited;
};

}  // namespace

LayoutChoice choose_layout(std::span<const HostWindow> hosts, const LayoutLimits& limits,
                           const MemoryForecasts& forecasts) {
  Search search(hosts, limits, forecasts);
  for (const int64_t least_memory : memory_classes(hosts)) search.look(least_memory);
  return search.take();
}

}  // namespace leasehold
