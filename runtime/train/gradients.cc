#include "runtime/train/gradients.h"

#include <algorithm>

namespace leasehold {

Gradients::Gradients(const FlatLayout& layout, ParameterTable& table, Communicator& group,
                     Kernels& kernels, Stream& compute, Stream& communication, Event& event)
    : layout_(layout),
      table_(table),
      group_(group),
      kernels_(kernels),
      compute_(compute),
      communication_(communication),
      event_(event) {}

Gradients::~Gradients() = default;

Result<std::unique_ptr<Gradients>> Gradients::create(const FlatLayout& layout,
                                                     ParameterTable& table, Communicator& group,
                                                     Kernels& kernels, const BatchOptions& batch,
                                                     Reduction reduction, Stream& compute,
                                                     Stream& communication, Event& event,
                                                     Arenas& arenas) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<LaneRange> lanes,
                             assign_lanes(batch.num_lanes, group.size()));
  std::unique_ptr<Gradients> gradients(
      new Gradients(layout, table, group, kernels, compute, communication, event));
  gradients->plan_lanes(lanes[static_cast<size_t>(group.rank())], batch, reduction, arenas);
  gradients->plan_buckets();
  if (group.size() > 1 && reduction == Reduction::kCanonical) {
    gradients->canonical_ = std::make_unique<CanonicalReduction>(
        group, kernels, lanes, batch.num_lanes, layout.max_shard_elements, arenas.communication);
  }
  return gradients;
}

void Gradients::plan_lanes(const LaneRange& own, const BatchOptions& batch, Reduction reduction,
                           Arenas& arenas) {
  const int64_t per_lane = batch.num_microbatches / batch.num_lanes;
  for (int64_t i = own.begin * per_lane; i < own.end * per_lane; ++i) microbatches_.push_back(i);
  int num_buffers = 1;
  if (reduction == Reduction::kCanonical) {
    microbatches_per_lane_ = per_lane;
    std::vector<TreeNode> leaves;
    for (int64_t lane = own.begin; lane < own.end; ++lane) leaves.push_back({0, lane});
    const MergePlan plan = plan_merges(leaves, batch.num_lanes);
    for (const MergeStep& step : plan.steps) lane_steps_.push_back({step.buffer, step.merges});
    for (const auto& [node, buffer] : plan.results) root_buffers_.push_back(buffer);
    num_buffers = plan.num_buffers;
  } else {
    microbatches_per_lane_ = own.count() * per_lane;
    lane_steps_.push_back({0, {}});
    root_buffers_.push_back(0);
  }
  for (int i = 0; i < num_buffers; ++i) {
    buffers_.push_back(
        arenas.gradients.allocate(kernels_.dtype(), Shape{layout_.num_gradient_elements}));
  }
  root_views_.resize(root_buffers_.size());
  // One rank has one root, which is the whole sum: the reduced shard is that buffer itself. Its
  // order of buckets is that of shard space, because both lay out slot 0 first and the further
  // slots after.
  reduced_ = group_.size() == 1 ? buffers_[static_cast<size_t>(root_buffers_.front())]
                                : arenas.optimizer.allocate(kernels_.dtype(),
                                                            Shape{layout_.num_all_shard_elements});
}

void Gradients::plan_buckets() {
  uses_per_bucket_.assign(layout_.buckets.size(), 0);
  buckets_of_use_.resize(layout_.parameters.size());
  for (size_t p = 0; p < layout_.parameters.size(); ++p) {
    for (int slot = 0; slot < static_cast<int>(layout_.parameters[p].gradient_begin.size());
         ++slot) {
      buckets_of_use_[p].push_back(layout_.buckets_of(static_cast<int>(p), slot));
      for (const int bucket : buckets_of_use_[p].back())
        ++uses_per_bucket_[static_cast<size_t>(bucket)];
    }
  }
}

Tensor Gradients::bucket_of(int buffer, const Bucket& bucket) const {
  return buffers_[static_cast<size_t>(buffer)].flat(bucket.gradient_begin,
                                                    bucket.shard_elements * layout_.num_ranks);
}

Tensor Gradients::value_buffer() const {
  return buffers_[static_cast<size_t>(root_buffers_.front())].flat(0, layout_.num_value_elements);
}

Write Gradients::begin_microbatch(size_t i) {
  current_ = i;
  pending_ = uses_per_bucket_;
  const auto per_lane = static_cast<size_t>(microbatches_per_lane_);
  if (i % per_lane != 0) return Write::kAccumulate;
  const Tensor buffer = buffers_[static_cast<size_t>(lane_steps_[i / per_lane].buffer)];
  for (size_t p = 0; p < layout_.parameters.size(); ++p) {
    const FlatParameter& flat = layout_.parameters[p];
    Parameter& parameter = *table_.all()[p];
    for (size_t slot = 0; slot < flat.gradient_begin.size(); ++slot) {
      parameter.bind_gradient(static_cast<int>(slot),
                              buffer.flat(flat.gradient_begin[slot], flat.num_elements)
                                  .reshape(parameter.local_shape()));
    }
  }
  return Write::kOverwrite;
}

void Gradients::end_microbatch() {
  const auto per_lane = static_cast<size_t>(microbatches_per_lane_);
  const bool last = current_ + 1 == microbatches_.size();
  if (last || (current_ + 1) % per_lane != 0)
    return;  // the last lane's merges are done bucket by bucket
  for (const auto& [left, right] : lane_steps_[current_ / per_lane].merges) {
    kernels_.add(compute_, buffers_[static_cast<size_t>(left)],
                 buffers_[static_cast<size_t>(right)], buffers_[static_cast<size_t>(left)]);
  }
}

void Gradients::after_backward(Module& unit) {
  if (current_ + 1 != microbatches_.size()) return;
  for (const ParameterUse& use : unit.uses()) {
    const auto found =
        std::find_if(table_.all().begin(), table_.all().end(),
                     [&](const auto& parameter) { return parameter.get() == use.parameter; });
    LEASEHOLD_CHECK(found != table_.all().end(), "{} uses a parameter of another table",
                    unit.name());
    const auto p = static_cast<size_t>(found - table_.all().begin());
    for (const int bucket : buckets_of_use_[p][static_cast<size_t>(use.slot)]) {
      if (--pending_[static_cast<size_t>(bucket)] == 0)
        start_bucket(layout_.buckets[static_cast<size_t>(bucket)]);
    }
  }
}

void Gradients::start_bucket(const Bucket& bucket) {
  for (const auto& [left, right] : lane_steps_.back().merges) {
    kernels_.add(compute_, bucket_of(left, bucket), bucket_of(right, bucket),
                 bucket_of(left, bucket));
  }
  if (group_.size() == 1) return;
  compute_.record(event_);
  communication_.wait(event_);
  const Tensor shard = reduced_.flat(bucket.shard_begin, bucket.shard_elements);
  for (size_t i = 0; i < root_buffers_.size(); ++i)
    root_views_[i] = bucket_of(root_buffers_[i], bucket);
  if (canonical_) {
    canonical_->reduce(root_views_, shard, communication_);
  } else {
    group_.reduce_scatter(root_views_.front(), shard, ReduceOp::kSum, communication_)
        .then(communication_);
  }
}

void Gradients::finish() {
  for (size_t b = 0; b < pending_.size(); ++b) {
    LEASEHOLD_CHECK(pending_[b] == 0, "bucket {}: {} gradients were never written", b, pending_[b]);
  }
  if (canonical_) canonical_->flush(communication_);
  communication_.record(event_);
  compute_.wait(event_);
  add_tied_slots();
}

void Gradients::add_tied_slots() {
  for (const Bucket& bucket : layout_.buckets) {
    if (bucket.slot == 0) continue;
    const Bucket& first = layout_.value_bucket_of(bucket);
    const Tensor sum = reduced_.flat(first.shard_begin, first.shard_elements);
    kernels_.add(compute_, sum, reduced_.flat(bucket.shard_begin, bucket.shard_elements), sum);
  }
}

}  // namespace leasehold
