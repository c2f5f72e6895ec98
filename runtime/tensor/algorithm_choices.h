// Which algorithm each matrix product is computed by, where a library offers several: what kernels
// chose (Kernels::algorithms), what ranks agree on, and what a checkpoint keeps. As text it is, for
// each library, a heading and a line for each product:
//
//   algorithms of cuBLASLt 13.1.0 on NVIDIA GB300, compute capability 10.3, 148 multiprocessors
//   forward 64 48 32 BF16 BF16 bias aligned = 1f 0 0 0 0 0 0 0
//
// A library's name says all that its algorithms are valid for. What stands on either side of " = "
// is the library's own; here it is compared, and not understood.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

inline constexpr const char* kAlgorithmsHeading = "algorithms of ";

class AlgorithmChoices {
 public:
  using Products = std::map<std::string, std::string>;  // product -> algorithm

  // kBadData for what is no such text, or names a library or product twice. "" has no choices.
  static Result<AlgorithmChoices> parse(const std::string& text);
  // Libraries and products in bytewise order: the same choices give the same text.
  std::string to_text() const;

  const std::map<std::string, Products>& by_library() const { return by_library_; }
  // Those of one library, or none.
  AlgorithmChoices of(const std::string& library) const;
  // Whether each choice of `other` is one of these.
  bool contain(const AlgorithmChoices& other) const;
  // Takes what is not there yet. Where both have an algorithm for a product, it stays; the products
  // for which it is another one are returned.
  std::vector<std::string> add(const AlgorithmChoices& other);

  bool operator==(const AlgorithmChoices&) const = default;

 private:
  std::map<std::string, Products> by_library_;
};

}  // namespace leasehold
