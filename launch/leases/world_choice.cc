#include "launch/leases/world_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

constexpr double kForEver = std::numeric_limits<double>::infinity();

// The progress of an option as a function of the time t when it starts: at_zero - world * t.
struct Line {
  double world;
  double at_zero;
};

// Returns the time before which `more`, the larger world, is better, and after which `less` is.
double crossing_s(const Line& more, const Line& less) {
  return (more.at_zero - less.at_zero) / (more.world - less.world);
}

}  // namespace

WorldChoice choose_world(std::span<const WorldOption> options, double start_s, double restart_s,
                         double now_s) {
  LEASEHOLD_CHECK(!options.empty(), "no world to choose from");
  if (options.size() == 1) return {.option = 0, .holds_until_s = kForEver};
  // A world that never drains is compared over the time in which the others drain and it follows.
  const double last_s =
      std::isinf(options[0].drain_at_s) ? options[1].drain_at_s + restart_s : options[0].drain_at_s;
  // All times count from last_s: small numbers lose no digits.
  const auto drain_s = [&](size_t i) { return std::min(options[i].drain_at_s, last_s) - last_s; };
  std::vector<double> afterwards(options.size(), 0);  // progress after option i drained
  std::vector<Line> lines;
  for (size_t i = 0; i < options.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const double trains_s = std::max(0.0, drain_s(j) - drain_s(i) - restart_s);
      const double progress = static_cast<double>(options[j].world) * trains_s + afterwards[j];
      afterwards[i] = std::max(afterwards[i], progress);
    }
    const auto world = static_cast<double>(options[i].world);
    lines.push_back({world, world * (drain_s(i) - start_s) + afterwards[i]});
  }
  WorldChoice choice;
  for (size_t i = 1; i < lines.size(); ++i) {
    if (now_s < last_s + crossing_s(lines[i], lines[choice.option])) choice.option = i;
  }
  choice.holds_until_s = kForEver;
  for (size_t j = 0; j < choice.option; ++j) {
    const double until_s = last_s + crossing_s(lines[choice.option], lines[j]);
    if (until_s > now_s) choice.holds_until_s = std::min(choice.holds_until_s, until_s);
  }
  return choice;
}

}  // namespace leasehold
