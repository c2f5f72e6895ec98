// The way in which the ranks of a generation share a model. It may change between generations,
// since it changes no bit. The tensor degree is not part of it: a job never changes that.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace leasehold {

struct Layout {
  int64_t pipeline = 1;  // number of stages
  int64_t chunks = 1;    // model parts per stage
  int64_t zero = 1;      // ZeRO stage

  bool operator==(const Layout&) const = default;
  bool operator<(const Layout& other) const {
    return std::tie(pipeline, chunks, zero) < std::tie(other.pipeline, other.chunks, other.zero);
  }
};

// Returns "pipeline 2, ZeRO 3", with the number of chunks if there are several.
std::string in_words(const Layout& layout);

// A number of ranks in a layout.
struct LayoutOfWorld {
  int64_t world = 1;
  Layout layout;

  bool operator==(const LayoutOfWorld&) const = default;
  bool operator<(const LayoutOfWorld& other) const {
    return std::tie(world, layout) < std::tie(other.world, other.layout);
  }
};

// Bytes of device memory that the fullest rank needs, for the layouts whose forecast is known.
using MemoryForecasts = std::map<LayoutOfWorld, int64_t>;

std::string memory_in_words(int64_t bytes);  // "3.2 GiB"

// Returns the time of a step, in units of a forward and backward of one microbatch through the
// whole model on one rank's device. A copy of the model with p stages, c chunks and n lanes (the
// most of any copy) needs (n + (p - 1) / c) / p: the bubble of Narayanan et al., arXiv:2104.04473.
// `copies` is at least 1.
double relative_step_time(const Layout& layout, int64_t lanes, int64_t copies);

}  // namespace leasehold
