// Where the parameters, gradients and shards of one part of a model lie in flat memory. Pure: every
// rank computes the same layout from the parameters and the size of the data axis.
//
// Value space: the local parameters one after the other, each starting on a chunk of
// Kernels::kChunk elements, so that shard borders, which are chunk borders, never split a chunk of
// a parameter. Gradient space: the same, followed by one more copy of a tied parameter's segment
// for each further gradient slot. Both are cut into buckets, the unit of exchange; a bucket is cut
// evenly over the data ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/module/parameter.h"

namespace leasehold {

struct FlatParameter {
  std::string name;
  int64_t num_elements = 0;
  int64_t value_begin = 0;              // multiple of kChunk
  std::vector<int> slots;               // of its gradient slots, those that are written here
  std::vector<int64_t> gradient_begin;  // one per entry of slots; the first one's is value_begin
  bool decay = false;
  int64_t num_chunks() const;
};

struct Bucket {
  int64_t value_begin = 0;  // elements [value_begin, + num_ranks * shard_elements) of value space
  int64_t gradient_begin = 0;  // the same number of elements of gradient space
  int64_t shard_elements = 0;  // multiple of kChunk; data rank r owns [r, r + 1) * shard_elements
  int64_t shard_begin = 0;     // where the owned part lies in shard space, on every rank
  int slot = 0;                // index into FlatParameter::slots
};

// Elements [begin, begin + count) of a parameter, which lie contiguously in value space and in
// somebody's shard.
struct OwnedRange {
  int parameter = 0;  // index into FlatLayout::parameters
  int64_t begin = 0;  // within the parameter; multiple of kChunk
  int64_t count = 0;
  int64_t value_begin = 0;  // in value space
  int64_t shard_begin = 0;  // in shard space
};

struct FlatLayout {
  int num_ranks = 1;                      // of the data axis
  std::vector<FlatParameter> parameters;  // in the order of the table
  // The first slot of everything first, in value order (so that its part of shard space has
  // num_shard_elements), then the further slots.
  std::vector<Bucket> buckets;
  int num_value_buckets = 0;  // buckets of first slots
  int64_t num_value_elements = 0;
  int64_t num_gradient_elements = 0;
  int64_t num_shard_elements =
      0;  // of first slots: what one rank owns of values and optimizer state
  int64_t num_all_shard_elements = 0;  // with further slots: what one rank receives of gradients
  int64_t max_shard_elements = 0;      // of one bucket

  // What data rank `rank` owns, in value order.
  std::vector<OwnedRange> owned_by(int rank) const;
  // The bucket of the first slot that a bucket of a further slot is added to.
  const Bucket& value_bucket_of(const Bucket& bucket) const;
  // Indices of the buckets that hold some of a parameter's slot, ascending.
  std::vector<int> buckets_of(int parameter, int slot) const;
};

// `bucket_bytes` is the aim for a bucket of 4-byte elements; at least one chunk per rank. With
// `units` (one number per parameter, ascending) no bucket holds parameters of two units.
FlatLayout make_flat_layout(const ParameterTable& table, int num_ranks, int64_t bucket_bytes,
                            const std::vector<int>& units = {});

}  // namespace leasehold
