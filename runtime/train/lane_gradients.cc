#include "runtime/train/lane_gradients.h"

namespace leasehold {

LaneGradients::LaneGradients(const ModelPart& part, const FlatLayout& layout, ParameterTable& table,
                             Communicator& group, Kernels& kernels, const BatchOptions& batch,
                             const LaneRange& own, CanonicalReduction* canonical,
                             Reduction reduction, const Streams& streams, Arenas& arenas)
    : layout_(layout),
      table_(table),
      group_(group),
      kernels_(kernels),
      canonical_(canonical),
      streams_(streams) {
  plan_lanes(own, batch, reduction, arenas);
  plan_buckets(part);
}

void LaneGradients::plan_lanes(const LaneRange& own, const BatchOptions& batch, Reduction reduction,
                               Arenas& arenas) {
  const int64_t per_lane = batch.num_microbatches / batch.num_lanes;
  num_microbatches_ = own.count() * per_lane;
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
    microbatches_per_lane_ = num_microbatches_;
    lane_steps_.push_back({0, {}});
    root_buffers_.push_back(0);
  }
  for (int i = 0; i < num_buffers; ++i) {
    buffers_.push_back(
        arenas.gradients.allocate(kernels_.gradient_dtype(), Shape{layout_.num_gradient_elements}));
  }
  root_views_.resize(root_buffers_.size());
  // One rank has one root, which is the whole sum: the reduced shard is that buffer itself. Its
  // order of buckets is that of shard space, because both lay out first slots first and the further
  // slots after.
  reduced_ = group_.size() == 1 ? buffers_[static_cast<size_t>(root_buffers_.front())]
                                : arenas.optimizer.allocate(kernels_.gradient_dtype(),
                                                            Shape{layout_.num_all_shard_elements});
}

void LaneGradients::plan_buckets(const ModelPart& part) {
  uses_per_bucket_.assign(layout_.buckets.size(), 0);
  for (const auto& uses : part.uses) {
    std::vector<int>& buckets = buckets_of_unit_.emplace_back();
    for (const PartUse& use : uses) {
      for (const int bucket : layout_.buckets_of(use.parameter, use.slot)) {
        buckets.push_back(bucket);
        ++uses_per_bucket_[static_cast<size_t>(bucket)];
      }
    }
  }
}

Tensor LaneGradients::bucket_of(int buffer, const Bucket& bucket) const {
  return buffers_[static_cast<size_t>(buffer)].flat(bucket.gradient_begin,
                                                    bucket.shard_elements * layout_.num_ranks);
}

Tensor LaneGradients::value_buffer() const {
  return buffers_[static_cast<size_t>(root_buffers_.front())].flat(0, layout_.num_value_elements);
}

Write LaneGradients::begin_microbatch(int64_t i) {
  current_ = i;
  pending_ = uses_per_bucket_;
  if (i % microbatches_per_lane_ != 0) return Write::kAccumulate;
  const LaneStep& step = lane_steps_[static_cast<size_t>(i / microbatches_per_lane_)];
  const Tensor buffer = buffers_[static_cast<size_t>(step.buffer)];
  for (size_t p = 0; p < layout_.parameters.size(); ++p) {
    const FlatParameter& flat = layout_.parameters[p];
    Parameter& parameter = *table_.all()[p];
    for (size_t slot = 0; slot < flat.slots.size(); ++slot) {
      parameter.bind_gradient(flat.slots[slot],
                              buffer.flat(flat.gradient_begin[slot], flat.num_elements)
                                  .reshape(parameter.local_shape()));
    }
  }
  return Write::kOverwrite;
}

void LaneGradients::end_microbatch() {
  const bool last = current_ + 1 == num_microbatches_;
  if (last || (current_ + 1) % microbatches_per_lane_ != 0)
    return;  // the last lane's merges are done bucket by bucket
  const LaneStep& step = lane_steps_[static_cast<size_t>(current_ / microbatches_per_lane_)];
  for (const auto& [left, right] : step.merges) {
    kernels_.add(*streams_.compute, buffers_[static_cast<size_t>(left)],
                 buffers_[static_cast<size_t>(right)], buffers_[static_cast<size_t>(left)]);
  }
}

void LaneGradients::after_backward(int64_t unit) {
  if (current_ + 1 != num_microbatches_) return;
  for (const int bucket : buckets_of_unit_[static_cast<size_t>(unit)]) {
    if (--pending_[static_cast<size_t>(bucket)] == 0)
      start_bucket(layout_.buckets[static_cast<size_t>(bucket)]);
  }
}

void LaneGradients::start_bucket(const Bucket& bucket) {
  for (const auto& [left, right] : lane_steps_.back().merges) {
    kernels_.add(*streams_.compute, bucket_of(left, bucket), bucket_of(right, bucket),
                 bucket_of(left, bucket));
  }
  if (group_.size() == 1) return;
  streams_.order(*streams_.compute, *streams_.communication);
  const Tensor shard = reduced_.flat(bucket.shard_begin, bucket.shard_elements);
  for (size_t i = 0; i < root_buffers_.size(); ++i)
    root_views_[i] = bucket_of(root_buffers_[i], bucket);
  if (canonical_ != nullptr) {
    canonical_->reduce(root_views_, shard, *streams_.communication);
  } else {
    group_.reduce_scatter(root_views_.front(), shard, ReduceOp::kSum, *streams_.communication)
        .then(*streams_.communication);
  }
}

void LaneGradients::finish() {
  for (size_t b = 0; b < pending_.size(); ++b) {
    LEASEHOLD_CHECK(pending_[b] == 0, "bucket {}: {} gradients were never written", b, pending_[b]);
  }
  if (canonical_ != nullptr) canonical_->flush(*streams_.communication);
  streams_.await_communication();
  add_tied_slots(layout_, kernels_, reduced_, *streams_.compute);
}

void add_tied_slots(const FlatLayout& layout, Kernels& kernels, Tensor reduced, Stream& stream) {
  for (const Bucket& bucket : layout.buckets) {
    if (bucket.slot == 0) continue;
    const Bucket& first = layout.value_bucket_of(bucket);
    const Tensor sum = reduced.flat(first.shard_begin, first.shard_elements);
    kernels.add(stream, sum, reduced.flat(bucket.shard_begin, bucket.shard_elements), sum);
  }
}

}  // namespace leasehold
