#include "runtime/train/flat_layout.h"

#include <algorithm>

#include "runtime/tensor/kernels.h"

namespace leasehold {

namespace {

constexpr int64_t kChunk = Kernels::kChunk;

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Buckets over [begin, end) of value space; only the last is padded. Returns the padded end.
int64_t cut_segment(int64_t begin, int64_t end, int num_ranks, int64_t bucket_elements,
                    std::vector<Bucket>& buckets) {
  const int64_t granule = kChunk * num_ranks;
  const int64_t full = std::max(granule, bucket_elements / granule * granule);
  while (begin < end) {
    const int64_t size = std::min(full, round_up(end - begin, granule));
    buckets.push_back(
        {.value_begin = begin, .gradient_begin = begin, .shard_elements = size / num_ranks});
    begin += size;
  }
  return begin;
}

}  // namespace

int64_t FlatParameter::num_chunks() const { return (num_elements + kChunk - 1) / kChunk; }

FlatLayout make_flat_layout(const ParameterTable& table, int num_ranks, int64_t bucket_bytes,
                            const std::vector<int>& units) {
  FlatLayout layout;
  layout.num_ranks = num_ranks;
  const int64_t bucket_elements = bucket_bytes / 4;
  // A segment ends before and after a tied parameter, so that its slots are whole buckets (and the
  // same ones on every stage that holds it).
  int64_t segment_begin = 0;
  int64_t end = 0;
  const auto end_segment = [&] {
    end = cut_segment(segment_begin, end, num_ranks, bucket_elements, layout.buckets);
    segment_begin = end;
  };
  std::vector<std::pair<size_t, size_t>> tied_buckets(table.all().size());
  for (const auto& parameter : table.all()) {
    const ParameterSpec& spec = parameter->spec();
    const bool tied = spec.num_gradient_slots > 1;
    const size_t p = layout.parameters.size();
    if (tied || (p > 0 && p < units.size() && units[p] != units[p - 1])) end_segment();
    const size_t first_bucket = layout.buckets.size();
    const int64_t num_elements = parameter->local_shape().num_elements();
    layout.parameters.push_back({.name = spec.name,
                                 .num_elements = num_elements,
                                 .value_begin = end,
                                 .slots = parameter->slots(),
                                 .gradient_begin = {end},
                                 .decay = spec.decay});
    end += round_up(num_elements, kChunk);
    if (tied) end_segment();
    tied_buckets[layout.parameters.size() - 1] = {first_bucket, layout.buckets.size()};
  }
  end_segment();
  layout.num_value_elements = end;
  layout.num_value_buckets = static_cast<int>(layout.buckets.size());

  for (size_t p = 0; p < layout.parameters.size(); ++p) {
    const auto [first, last] = tied_buckets[p];
    for (int slot = 1; slot < static_cast<int>(layout.parameters[p].slots.size()); ++slot) {
      layout.parameters[p].gradient_begin.push_back(end);
      for (size_t b = first; b < last; ++b) {
        Bucket bucket = layout.buckets[b];
        bucket.gradient_begin = end;
        bucket.slot = slot;
        end += bucket.shard_elements * num_ranks;
        layout.buckets.push_back(bucket);
      }
    }
  }
  layout.num_gradient_elements = end;

  for (size_t b = 0; b < layout.buckets.size(); ++b) {
    layout.buckets[b].shard_begin = layout.num_all_shard_elements;
    layout.num_all_shard_elements += layout.buckets[b].shard_elements;
    layout.max_shard_elements =
        std::max(layout.max_shard_elements, layout.buckets[b].shard_elements);
    if (b + 1 == static_cast<size_t>(layout.num_value_buckets)) {
      layout.num_shard_elements = layout.num_all_shard_elements;
    }
  }
  return layout;
}

std::vector<OwnedRange> FlatLayout::owned_by(int rank) const {
  std::vector<OwnedRange> ranges;
  size_t p = 0;
  for (int b = 0; b < num_value_buckets; ++b) {
    const Bucket& bucket = buckets[static_cast<size_t>(b)];
    const int64_t begin = bucket.value_begin + rank * bucket.shard_elements;
    const int64_t end = begin + bucket.shard_elements;
    // Shards ascend in value space, so the walk over parameters only ever goes on.
    while (p < parameters.size() && parameters[p].value_begin + parameters[p].num_elements <= begin)
      ++p;
    for (size_t q = p; q < parameters.size() && parameters[q].value_begin < end; ++q) {
      const FlatParameter& parameter = parameters[q];
      const int64_t from = std::max(begin, parameter.value_begin);
      const int64_t to = std::min(end, parameter.value_begin + parameter.num_elements);
      if (from >= to) continue;
      ranges.push_back({.parameter = static_cast<int>(q),
                        .begin = from - parameter.value_begin,
                        .count = to - from,
                        .value_begin = from,
                        .shard_begin = bucket.shard_begin + from - begin});
    }
  }
  return ranges;
}

const Bucket& FlatLayout::value_bucket_of(const Bucket& bucket) const {
  const auto found =
      std::find_if(buckets.begin(), buckets.begin() + num_value_buckets,
                   [&](const Bucket& other) { return other.value_begin == bucket.value_begin; });
  LEASEHOLD_CHECK(found != buckets.begin() + num_value_buckets, "no bucket begins at {}",
                  bucket.value_begin);
  return *found;
}

std::vector<int> FlatLayout::buckets_of(int parameter, int slot) const {
  const FlatParameter& flat = parameters[static_cast<size_t>(parameter)];
  const int64_t begin = flat.value_begin;
  const int64_t end = begin + flat.num_elements;
  std::vector<int> found;
  for (size_t b = 0; b < buckets.size(); ++b) {
    const Bucket& bucket = buckets[b];
    const int64_t bucket_end = bucket.value_begin + bucket.shard_elements * num_ranks;
    if (bucket.slot == slot && bucket.value_begin < end && begin < bucket_end)
      found.push_back(static_cast<int>(b));
  }
  return found;
}

}  // namespace leasehold
