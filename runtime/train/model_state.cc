#include "runtime/train/model_state.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "runtime/base/random.h"
#include "runtime/base/thread_pool.h"

namespace leasehold {

namespace {

// Elements [begin, begin + out.size()) of a parameter's initial value.
void draw(const ParameterSpec& spec, uint64_t seed, int64_t begin, std::span<float> out) {
  const Initializer& initializer = spec.initializer;
  if (initializer.kind != Initializer::Kind::kNormal) {
    std::fill(out.begin(), out.end(), initializer.kind == Initializer::Kind::kOne ? 1.0F : 0.0F);
    return;
  }
  const RandomSite site = RandomSite::make(seed, spec.name);
  const auto deviation = static_cast<float>(initializer.standard_deviation);
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = deviation * site.normal(static_cast<uint64_t>(begin) + i);
}

}  // namespace

ModelState::ModelState(const FlatLayout& layout, ParameterTable& table, Communicator& group,
                       Kernels& kernels, int zero_stage, Arenas& arenas)
    : layout_(layout),
      group_(group),
      kernels_(kernels),
      sharded_(zero_stage > 0 && group.size() > 1),
      owned_(layout.owned_by(group.rank())) {
  values_ = arenas.parameters.allocate(DType::kF32, Shape{layout.num_value_elements});
  const Shape moments{sharded_ ? layout.num_shard_elements : layout.num_value_elements};
  m_ = arenas.optimizer.allocate(DType::kF32, moments);
  v_ = arenas.optimizer.allocate(DType::kF32, moments);
  for (size_t p = 0; p < layout.parameters.size(); ++p) {
    const FlatParameter& flat = layout.parameters[p];
    Parameter& parameter = *table.all()[p];
    parameter.bind_value(
        values_.flat(flat.value_begin, flat.num_elements).reshape(parameter.local_shape()));
    shapes_.push_back(parameter.spec().shape);
  }
  updated_ = updated_ranges();
}

std::vector<OwnedRange> ModelState::updated_ranges() const {
  if (sharded_) return owned_;
  std::vector<OwnedRange> whole;
  for (size_t p = 0; p < layout_.parameters.size(); ++p) {
    const FlatParameter& flat = layout_.parameters[p];
    whole.push_back({.parameter = static_cast<int>(p),
                     .begin = 0,
                     .count = flat.num_elements,
                     .value_begin = flat.value_begin,
                     .shard_begin = flat.value_begin});
  }
  return whole;
}

void ModelState::initialize(const ParameterTable& table, uint64_t seed, Stream& stream) {
  constexpr int64_t kBlock = 1 << 16;
  struct Part {
    const ParameterSpec* spec;
    int64_t begin, count, at;
  };
  std::vector<Part> parts;
  for (const OwnedRange& range : owned_) {
    const ParameterSpec& spec = table.all()[static_cast<size_t>(range.parameter)]->spec();
    for (int64_t done = 0; done < range.count; done += kBlock) {
      parts.push_back({&spec, range.begin + done, std::min(kBlock, range.count - done),
                       range.value_begin + done});
    }
  }
  float* values = values_.as<float>();
  ThreadPool pool(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 8U)));
  pool.run(static_cast<int64_t>(parts.size()), [&](int64_t i, int) {
    const Part& part = parts[static_cast<size_t>(i)];
    draw(*part.spec, seed, part.begin, {values + part.at, static_cast<size_t>(part.count)});
  });
  stream.fill_zero(m_.data(), m_.size_bytes());
  stream.fill_zero(v_.data(), v_.size_bytes());
  gather_values(stream);
}

void ModelState::gather_values(Stream& stream) {
  for (int b = 0; b < layout_.num_value_buckets && group_.size() > 1; ++b) {
    const Bucket& bucket = layout_.buckets[static_cast<size_t>(b)];
    const Tensor all = values_.flat(bucket.value_begin, bucket.shard_elements * layout_.num_ranks);
    group_
        .all_gather(all.flat(group_.rank() * bucket.shard_elements, bucket.shard_elements), all,
                    stream)
        .then(stream);
  }
}

int64_t ModelState::moment_begin(const OwnedRange& range) const {
  return sharded_ ? range.shard_begin : range.value_begin;
}

void ModelState::update(const OptimizerOptions& options, double lr, int64_t step,
                        double gradient_scale, double clip, Tensor reduced_shard,
                        Tensor value_buffer, Stream& compute) {
  if (!sharded_ && group_.size() > 1) {
    for (int b = 0; b < layout_.num_value_buckets; ++b) {
      const Bucket& bucket = layout_.buckets[static_cast<size_t>(b)];
      group_
          .all_gather(
              reduced_shard.flat(bucket.shard_begin, bucket.shard_elements),
              value_buffer.flat(bucket.value_begin, bucket.shard_elements * layout_.num_ranks),
              compute)
          .then(compute);
    }
  }
  const AdamWStep decayed = adamw_step(options, lr, step, true, gradient_scale, clip);
  const AdamWStep plain = adamw_step(options, lr, step, false, gradient_scale, clip);
  for (const OwnedRange& range : updated_) {
    const bool decay = layout_.parameters[static_cast<size_t>(range.parameter)].decay;
    const Tensor gradient = sharded_ ? reduced_shard.flat(range.shard_begin, range.count)
                                     : value_buffer.flat(range.value_begin, range.count);
    kernels_.adamw(compute, decay ? decayed : plain, values_.flat(range.value_begin, range.count),
                   gradient, m_.flat(moment_begin(range), range.count),
                   v_.flat(moment_begin(range), range.count));
  }
  if (sharded_) gather_values(compute);
}

std::vector<StateSlice> ModelState::slices_of(const std::vector<OwnedRange>& ranges) const {
  std::vector<StateSlice> slices;
  for (const OwnedRange& range : ranges) {
    const auto p = static_cast<size_t>(range.parameter);
    for (const StateKind kind : kStateKinds) {
      const Tensor data = kind == StateKind::kWeight ? values_.flat(range.value_begin, range.count)
                          : kind == StateKind::kMoment1 ? m_.flat(moment_begin(range), range.count)
                                                        : v_.flat(moment_begin(range), range.count);
      slices.push_back({.parameter = layout_.parameters[p].name,
                        .kind = kind,
                        .global_shape = shapes_[p],
                        .box = Box::whole(shapes_[p]),
                        .begin = range.begin,
                        .data = data});
    }
  }
  return slices;
}

std::vector<StateSlice> ModelState::owned_slices() const { return slices_of(owned_); }

std::vector<StateSlice> ModelState::needed_slices() const { return slices_of(updated_); }

}  // namespace leasehold
