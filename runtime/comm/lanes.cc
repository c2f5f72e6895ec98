#include "runtime/comm/lanes.h"

#include <algorithm>
#include <bit>

#include "runtime/comm/tree.h"

namespace leasehold {

namespace {

// Returns the number in [low, high] that the highest power of two divides; of several such numbers
// the greatest, so that the remaining ranks have less to share.
int64_t most_aligned(int64_t low, int64_t high) {
  int64_t best = high;
  for (int64_t step = 1; high / step * step >= low; step *= 2) best = high / step * step;
  return best;
}

// Chooses borders, left to right, as aligned as runs of at most `longest` lanes allow.
std::vector<LaneRange> cut(int64_t num_lanes, int64_t num_ranks, int64_t longest) {
  std::vector<LaneRange> runs;
  int64_t begin = 0;
  for (int64_t left = num_ranks - 1; left >= 0; --left) {
    const int64_t low = std::max(begin + 1, num_lanes - left * longest);
    const int64_t high = std::min(begin + longest, num_lanes - left);
    runs.push_back({begin, most_aligned(low, high)});
    begin = runs.back().end;
  }
  return runs;
}

std::vector<LaneRange> cut_evenly(int64_t num_lanes, int64_t num_ranks) {
  std::vector<LaneRange> runs;
  for (int64_t rank = 0; rank < num_ranks; ++rank) {
    runs.push_back({rank * num_lanes / num_ranks, (rank + 1) * num_lanes / num_ranks});
  }
  return runs;
}

size_t num_roots(const std::vector<LaneRange>& runs, int64_t num_lanes) {
  size_t sum = 0;
  for (const LaneRange& run : runs) sum += cover(run.begin, run.end, num_lanes).size();
  return sum;
}

}  // namespace

Result<std::vector<LaneRange>> assign_lanes(int64_t num_lanes, int num_ranks) {
  if (num_ranks < 1 || num_lanes < num_ranks) {
    return error(Code::kBadConfig,
                 "{} lanes cannot be shared by {} data-parallel ranks: use at most {} ranks, or "
                 "raise batch.lanes",
                 num_lanes, num_ranks, num_lanes);
  }
  // Choosing left to right misses the fewest roots in one case of fifty, and then narrowly.
  const int64_t shortest = (num_lanes + num_ranks - 1) / num_ranks;
  std::vector<LaneRange> best = cut_evenly(num_lanes, num_ranks);
  size_t best_roots = num_roots(best, num_lanes);
  for (int64_t longest = shortest; longest <= shortest + shortest / 8; ++longest) {
    std::vector<LaneRange> runs = cut(num_lanes, num_ranks, longest);
    const size_t roots = num_roots(runs, num_lanes);
    if (roots < best_roots) {
      best = std::move(runs);
      best_roots = roots;
    }
  }
  return best;
}

}  // namespace leasehold
