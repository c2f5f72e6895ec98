#include "runtime/checkpoint/reshard.h"

#include <algorithm>
#include <cstring>

namespace leasehold {

namespace {

// The box that two boxes share, cut into rows that are contiguous in both. Row `k` starts at
// element source_at(k) of the source box and target_at(k) of the target box; both grow with k, so a
// range of either is found by bisection.
struct SharedRows {
  Box shared;
  int num_outer_dims = 0;  // dims [0, num_outer_dims) number the rows, the others lie inside a row
  int64_t num_rows = 1;
  int64_t row_elements = 1;

  SharedRows(const Box& shared_box, const Box& source, const Box& target) : shared(shared_box) {
    // A dim that is whole in both boxes joins the row; so does the innermost one that is not, which
    // ends it.
    int dim = shared.extent.num_dims() - 1;
    for (; dim >= 0; --dim) {
      row_elements *= shared.extent[dim];
      if (shared.extent[dim] != source.extent[dim] || shared.extent[dim] != target.extent[dim])
        break;
    }
    num_outer_dims = std::max(dim, 0);
    for (int outer = 0; outer < num_outer_dims; ++outer) num_rows *= shared.extent[outer];
  }

  // Element of `box` at which row k starts, row-major.
  int64_t row_start(int64_t k, const Box& box) const {
    int64_t position = 0;
    int64_t stride = 1;
    for (int dim = box.extent.num_dims() - 1; dim >= 0; --dim) {
      int64_t at = shared.offset[static_cast<size_t>(dim)] - box.offset[static_cast<size_t>(dim)];
      if (dim < num_outer_dims) {
        at += k % shared.extent[dim];
        k /= shared.extent[dim];
      }
      position += at * stride;
      stride *= box.extent[dim];
    }
    return position;
  }

  // The first row that reaches beyond the begin of both ranges.
  int64_t first_row(const BoxRange& source, const BoxRange& target) const {
    int64_t low = 0;
    int64_t high = num_rows;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      const bool reaches = row_start(middle, source.box) + row_elements > source.begin &&
                           row_start(middle, target.box) + row_elements > target.begin;
      if (reaches) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

}  // namespace

void for_each_run(const BoxRange& source, const BoxRange& target,
                  const std::function<bool(const CopyRun&)>& visit) {
  const std::optional<Box> shared = intersect(source.box, target.box);
  if (!shared) return;
  const SharedRows rows(*shared, source.box, target.box);
  for (int64_t k = rows.first_row(source, target); k < rows.num_rows; ++k) {
    const int64_t in_source = rows.row_start(k, source.box);
    const int64_t in_target = rows.row_start(k, target.box);
    if (in_source >= source.end || in_target >= target.end) return;
    const int64_t begin =
        std::max({int64_t{0}, source.begin - in_source, target.begin - in_target});
    const int64_t end =
        std::min({rows.row_elements, source.end - in_source, target.end - in_target});
    if (begin >= end) continue;
    if (!visit({in_source + begin - source.begin, in_target + begin - target.begin, end - begin}))
      return;
  }
}

bool overlaps(const BoxRange& a, const BoxRange& b) {
  bool found = false;
  for_each_run(a, b, [&](const CopyRun&) {
    found = true;
    return false;
  });
  return found;
}

void copy_shared(const BoxRange& source_range, const float* source, const BoxRange& target_range,
                 float* target) {
  for_each_run(source_range, target_range, [&](const CopyRun& run) {
    std::memcpy(target + run.target, source + run.source,
                static_cast<size_t>(run.count) * sizeof(float));
    return true;
  });
}

}  // namespace leasehold
