// Which of several worlds trains the most, when each has to give way at another time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace leasehold {

struct WorldOption {
  int64_t world = 1;      // ranks
  double drain_at_s = 0;  // when this world has to drain; infinity: never
};

struct WorldChoice {
  size_t option = 0;
  double holds_until_s = 0;  // behind now; then the passing of time alone makes it another one
};

// `options` in the order of their drain times, latest first, with worlds that grow: each one is the
// one before and further hosts. A world that starts now trains `start_s` later, and when it drains
// the best of the options before it follows, for the price of `restart_s` without progress. Taken
// is what makes the most progress (ranks x seconds) until the last of them drains. `options` is not
// empty.
WorldChoice choose_world(std::span<const WorldOption> options, double start_s, double restart_s,
                         double now_s);

}  // namespace leasehold
