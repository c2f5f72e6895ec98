#include "runtime/train/streamed_gradients.h"

#include <algorithm>

namespace leasehold {

namespace {

// The buckets that a unit's uses write, ascending in gradient space.
std::vector<int> buckets_of_unit(const std::vector<PartUse>& uses, const FlatLayout& layout) {
  std::vector<int> buckets;
  for (const PartUse& use : uses) {
    const std::vector<int> more = layout.buckets_of(use.parameter, use.slot);
    buckets.insert(buckets.end(), more.begin(), more.end());
  }
  std::sort(buckets.begin(), buckets.end());
  buckets.erase(std::unique(buckets.begin(), buckets.end()), buckets.end());
  return buckets;
}

int64_t elements_of(const FlatLayout& layout, int bucket) {
  return layout.buckets[static_cast<size_t>(bucket)].shard_elements * layout.num_ranks;
}

}  // namespace

int64_t largest_unit_elements(const ModelPart& part, const FlatLayout& layout) {
  int64_t largest = 0;
  for (const auto& uses : part.uses) {
    int64_t sum = 0;
    for (const int bucket : buckets_of_unit(uses, layout)) sum += elements_of(layout, bucket);
    largest = std::max(largest, sum);
  }
  return largest;
}

StreamedGradients::StreamedGradients(const ModelPart& part, const FlatLayout& layout,
                                     ParameterTable& table, Kernels& kernels,
                                     int64_t num_microbatches, Reduction reduction,
                                     GradientExchange& exchange, const Streams& streams,
                                     Arenas& arenas)
    : layout_(layout),
      kernels_(kernels),
      reduction_(reduction),
      exchange_(exchange),
      streams_(streams),
      taker_([this](const Bucket& bucket, int64_t round, const std::vector<Tensor>& parts) {
        take(bucket, round, parts);
      }) {
  for (const auto& uses : part.uses) units_.push_back(plan_unit(uses, table));
  int num_buffers = 1;
  if (reduction == Reduction::kCanonical) {
    std::vector<TreeNode> leaves;
    for (int64_t i = 0; i < num_microbatches; ++i) leaves.push_back({0, i});
    merges_ = plan_merges(leaves, num_microbatches);
    root_ = merges_.results.front().second;
    num_buffers = merges_.num_buffers;
  }
  for (int i = 0; i < num_buffers; ++i) {
    buffers_.push_back(
        arenas.gradients.allocate(kernels.gradient_dtype(), Shape{layout.num_all_shard_elements}));
  }
}

StreamedGradients::UnitPlan StreamedGradients::plan_unit(const std::vector<PartUse>& uses,
                                                         ParameterTable& table) const {
  UnitPlan unit;
  int64_t size = 0;
  for (const int bucket : buckets_of_unit(uses, layout_)) {
    unit.buckets.push_back({bucket, size});
    size += elements_of(layout_, bucket);
  }
  std::vector<Gap> written;
  for (const PartUse& use : uses) {
    const FlatParameter& flat = layout_.parameters[static_cast<size_t>(use.parameter)];
    const int64_t begin = flat.gradient_begin[static_cast<size_t>(use.slot)];
    // A parameter's buckets follow each other, so it is whole in the unit's buffer.
    const int first = layout_.buckets_of(use.parameter, use.slot).front();
    const auto found = std::find_if(unit.buckets.begin(), unit.buckets.end(),
                                    [&](const UnitBucket& each) { return each.bucket == first; });
    const int64_t offset =
        found->offset + begin - layout_.buckets[static_cast<size_t>(first)].gradient_begin;
    unit.gradients.push_back({table.all()[static_cast<size_t>(use.parameter)].get(),
                              flat.slots[static_cast<size_t>(use.slot)], offset});
    written.push_back({offset, flat.num_elements});
  }
  std::sort(written.begin(), written.end(),
            [](const Gap& a, const Gap& b) { return a.offset < b.offset; });
  int64_t end = 0;
  for (const Gap& range : written) {
    if (range.offset > end) unit.gaps.push_back({end, range.offset - end});
    end = range.offset + range.count;
  }
  if (size > end) unit.gaps.push_back({end, size - end});
  return unit;
}

Tensor StreamedGradients::place(int buffer, const Bucket& bucket) const {
  return buffers_[static_cast<size_t>(buffer)].flat(bucket.shard_begin, bucket.shard_elements);
}

Tensor StreamedGradients::reduced_shard() const {
  return buffers_[static_cast<size_t>(root_)].flat(0, layout_.num_shard_elements);
}

Write StreamedGradients::begin_microbatch(int64_t i) {
  round_ = i;
  return Write::kOverwrite;
}

void StreamedGradients::before_backward(int64_t unit) {
  const UnitPlan& plan = units_[static_cast<size_t>(unit)];
  current_ = exchange_.next_buffer();
  for (const Gap& gap : plan.gaps) {
    const Tensor padding = current_.flat(gap.offset, gap.count);
    streams_.compute->fill_zero(padding.data(), padding.size_bytes());
  }
  for (const UnitGradient& gradient : plan.gradients) {
    const Shape& shape = gradient.parameter->local_shape();
    gradient.parameter->bind_gradient(
        gradient.slot, current_.flat(gradient.offset, shape.num_elements()).reshape(shape));
  }
}

void StreamedGradients::after_backward(int64_t unit) {
  const UnitPlan& plan = units_[static_cast<size_t>(unit)];
  // The library's sum takes what every rank holds.
  if (reduction_ == Reduction::kFast && !exchange_.computes(round_))
    streams_.compute->fill_zero(current_.data(), current_.size_bytes());
  for (const UnitBucket& each : plan.buckets) {
    const Bucket& bucket = layout_.buckets[static_cast<size_t>(each.bucket)];
    exchange_.send(bucket, current_.flat(each.offset, bucket.shard_elements * layout_.num_ranks),
                   round_, taker_);
  }
  exchange_.end_buffer();
  for (const UnitGradient& gradient : plan.gradients)
    gradient.parameter->bind_gradient(gradient.slot, {});
}

void StreamedGradients::take(const Bucket& bucket, int64_t round,
                             const std::vector<Tensor>& parts) {
  Stream& stream = *streams_.communication;
  const auto copy = [&](Tensor from, Tensor to) {
    stream.copy(to.data(), from.data(), from.size_bytes());
  };
  if (reduction_ == Reduction::kFast) {
    const Tensor sum = place(0, bucket);
    if (round == 0) {
      copy(parts[0], sum);
    } else {
      kernels_.add(stream, sum, parts[0], sum);
    }
    return;
  }
  for (size_t p = 0; p < parts.size(); ++p) {
    if (!parts[p].present()) continue;
    const MergeStep& step = merges_.steps[static_cast<size_t>(round) * parts.size() + p];
    bool held = false;  // the leaf is in its buffer; before, where it came to
    for (const auto& [left, right] : step.merges) {
      const bool is_leaf = !held && right == step.buffer;
      kernels_.add(stream, place(left, bucket), is_leaf ? parts[p] : place(right, bucket),
                   place(left, bucket));
      held = true;
    }
    if (!held) copy(parts[p], place(step.buffer, bucket));
  }
}

void StreamedGradients::finish() {
  exchange_.flush();
  streams_.await_communication();
  add_tied_slots(layout_, kernels_, buffers_[static_cast<size_t>(root_)], *streams_.compute);
}

}  // namespace leasehold
