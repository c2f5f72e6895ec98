// How the ranks of a generation share a model: what may change between generations, since it
// changes no bit. The tensor degree is not among it: it is the job's for ever.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace leasehold {

struct Layout {
  int64_t pipeline = 1;  // stages
  int64_t chunks = 1;    // model parts on each stage
  int64_t zero = 1;      // stage of ZeRO

  bool operator==(const Layout&) const = default;
  bool operator<(const Layout& other) const {
    return std::tie(pipeline, chunks, zero) < std::tie(other.pipeline, other.chunks, other.zero);
  }
};

// "pipeline 2, ZeRO 3", with the chunks where there are several.
std::string in_words(const Layout& layout);

// So many ranks in a layout.
struct LayoutOfWorld {
  int64_t world = 1;
  Layout layout;

  bool operator==(const LayoutOfWorld&) const = default;
  bool operator<(const LayoutOfWorld& other) const {
    return std::tie(world, layout) < std::tie(other.world, other.layout);
  }
};

// Bytes of device memory that the fullest rank needs, as far as they are known.
using MemoryForecasts = std::map<LayoutOfWorld, int64_t>;

std::string memory_in_words(int64_t bytes);  // "3.2 GiB"

// How long a step takes, in forwards and backwards of one microbatch through the whole model on one
// rank's device: a copy of the model with p stages and the most lanes, n, needs (n + (p - 1) / c) /
// p with c chunks (the bubble of Narayanan et al., arXiv:2104.04473). `copies` at least 1.
double relative_step_time(const Layout& layout, int64_t lanes, int64_t copies);

}  // namespace leasehold
