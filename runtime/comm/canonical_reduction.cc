#include "runtime/comm/canonical_reduction.h"

#include <array>

#include "runtime/base/check.h"
#include "runtime/comm/reduction_exchange.h"

namespace leasehold {

namespace {

// Halving pays from this number of ranks on. With fewer ranks it saves a message or two at most,
// and its later turns wait until the host issues them.
constexpr int kFewestRanksToHalve = 8;

ReductionSetup make_setup(Communicator& group, Kernels& kernels,
                          const std::vector<LaneRange>& lanes, int64_t num_lanes,
                          int64_t max_shard_elements) {
  ReductionSetup setup{&group, &kernels, {}, num_lanes, max_shard_elements};
  LEASEHOLD_CHECK(lanes.size() == static_cast<size_t>(group.size()), "{}: lanes of {} ranks for {}",
                  group.name(), lanes.size(), group.size());
  int64_t next = 0;
  for (const LaneRange& run : lanes) {
    LEASEHOLD_CHECK(run.begin == next && run.end > run.begin, "{}: lanes {} to {} after lane {}",
                    group.name(), run.begin, run.end, next);
    next = run.end;
    setup.roots.push_back(cover(run.begin, run.end, num_lanes));
  }
  LEASEHOLD_CHECK(next == num_lanes, "{}: {} of {} lanes are shared out", group.name(), next,
                  num_lanes);
  return setup;
}

bool halves(Exchange exchange, const ReductionSetup& setup) {
  if (exchange == Exchange::kAutomatic)
    return setup.group->size() >= kFewestRanksToHalve && can_halve(setup);
  return exchange == Exchange::kHalving;
}

bool overlap(const Tensor& a, const Tensor& b) {
  const char* a_begin = static_cast<const char*>(a.data());
  const char* b_begin = static_cast<const char*>(b.data());
  return a_begin < b_begin + b.size_bytes() && b_begin < a_begin + a.size_bytes();
}

}  // namespace

struct CanonicalReduction::Implementation {
  struct Bucket {
    std::unique_ptr<ReductionExchange> exchange;
    bool under_way = false;
  };

  Implementation(ReductionSetup reduction_setup, Exchange exchange, Arena& arena)
      : setup(std::move(reduction_setup)) {
    for (Bucket& bucket : buckets) {
      bucket.exchange = halves(exchange, setup) ? create_halving_exchange(setup, arena)
                                                : create_direct_exchange(setup, arena);
    }
  }

  const std::vector<TreeNode>& own_roots() const {
    return setup.roots[static_cast<size_t>(setup.group->rank())];
  }

  void check(std::span<const Tensor> roots, const Tensor& shard) const {
    const std::string& name = setup.group->name();
    const int64_t n = shard.num_elements();
    LEASEHOLD_CHECK(
        shard.dtype() == setup.kernels->gradient_dtype() && n <= setup.max_shard_elements,
        "{}: a shard of {} {}, made for {} {}", name, n, dtype_name(shard.dtype()),
        setup.max_shard_elements, dtype_name(setup.kernels->gradient_dtype()));
    LEASEHOLD_CHECK(roots.size() == own_roots().size(), "{}: {} roots where the lanes have {}",
                    name, roots.size(), own_roots().size());
    for (const Tensor& root : roots) {
      LEASEHOLD_CHECK(
          root.dtype() == shard.dtype() && root.num_elements() == n * setup.group->size(),
          "{}: a root of {} for {} shards of {}", name, root.num_elements(), setup.group->size(),
          n);
      LEASEHOLD_CHECK(
          !overlap(root, shard) || (setup.group->size() == 1 && root.data() == shard.data()),
          "{}: the shard lies inside a root", name);
    }
  }

  // Runs the older bucket's turns with the younger bucket's turns between them: while one message
  // is waited for, another one travels.
  void finish_older(Stream& stream) {
    Bucket& older = buckets[next];
    Bucket& younger = buckets[1 - next];
    while (older.under_way) {
      older.under_way = !older.exchange->advance(stream);
      if (older.under_way && younger.under_way)
        younger.under_way = !younger.exchange->advance(stream);
    }
  }

  ReductionSetup setup;
  std::array<Bucket, 2> buckets;
  size_t next = 0;  // the bucket to start next, which is the older one of those under way
};

CanonicalReduction::CanonicalReduction(Communicator& group, Kernels& kernels,
                                       const std::vector<LaneRange>& lanes, int64_t num_lanes,
                                       int64_t max_shard_elements, Arena& arena, Exchange exchange)
    : implementation_(std::make_unique<Implementation>(
          make_setup(group, kernels, lanes, num_lanes, max_shard_elements), exchange, arena)) {}

CanonicalReduction::~CanonicalReduction() = default;

const std::vector<TreeNode>& CanonicalReduction::own_roots() const {
  return implementation_->own_roots();
}

void CanonicalReduction::reduce(std::span<const Tensor> roots, Tensor shard, Stream& stream) {
  Implementation& self = *implementation_;
  self.check(roots, shard);
  if (shard.num_elements() == 0) return;
  self.finish_older(stream);
  Implementation::Bucket& bucket = self.buckets[self.next];
  bucket.exchange->start(roots, shard, stream);
  bucket.under_way = true;
  self.next = 1 - self.next;
}

void CanonicalReduction::flush(Stream& stream) {
  for (size_t i = 0; i < implementation_->buckets.size(); ++i) {
    implementation_->finish_older(stream);
    implementation_->next = 1 - implementation_->next;
  }
}

}  // namespace leasehold
