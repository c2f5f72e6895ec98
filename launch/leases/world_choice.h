// Chooses the one of several worlds that trains the most if each must give way at another time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace leasehold {

struct WorldOption {
  int64_t world = 1;      // ranks
  double drain_at_s = 0;  // the time when this world must drain; infinity: never
};

struct WorldChoice {
  size_t option = 0;
  double holds_until_s = 0;  // after now: the time at which another option becomes the better one
};

// Chooses the option with the most progress (ranks x seconds) until the last option drains.
// `options` is not empty and is ordered by drain time, latest first. Each option is a larger world:
// the hosts of the one before and further hosts. A world that starts now trains `start_s` later.
// When it drains, the best of the options before it follows, after `restart_s` without progress.
WorldChoice choose_world(std::span<const WorldOption> options, double start_s, double restart_s,
                         double now_s);

}  // namespace leasehold
