#include "runtime/train/model_state.h"

#include <algorithm>
#include <thread>

#include "runtime/base/random.h"
#include "runtime/base/thread_pool.h"

namespace leasehold {

namespace {

// Where elements of a box lie in the unsharded tensor: one dim at most is cut, so runs of
// `run` elements lie `stride` apart.
struct BoxRuns {
  int64_t run = 1;
  int64_t stride = 1;
  int64_t first = 0;

  BoxRuns(const Box& box, const Shape& global) {
    for (int dim = global.num_dims() - 1; dim >= 0; --dim) {
      run *= box.extent[dim];
      stride *= global[dim];
      if (box.extent[dim] == global[dim]) continue;
      first = box.offset[static_cast<size_t>(dim)] * (run / box.extent[dim]);
      break;
    }
  }
  int64_t global_index(int64_t i) const { return first + i / run * stride + i % run; }
};

// Elements [begin, begin + out.size()) of a box of a parameter's initial value.
void draw(const ParameterSpec& spec, const Box& box, uint64_t seed, int64_t begin,
          std::span<float> out) {
  const Initializer& initializer = spec.initializer;
  if (initializer.kind != Initializer::Kind::kNormal) {
    std::fill(out.begin(), out.end(), initializer.kind == Initializer::Kind::kOne ? 1.0F : 0.0F);
    return;
  }
  const RandomSite site = RandomSite::make(seed, spec.name);
  const auto deviation = static_cast<float>(initializer.standard_deviation);
  const BoxRuns runs(box, spec.shape);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t element = runs.global_index(begin + static_cast<int64_t>(i));
    out[i] = deviation * site.normal(static_cast<uint64_t>(element));
  }
}

}  // namespace

Box box_of(const Parameter& parameter, int rank) {
  const ParameterSpec& spec = parameter.spec();
  Box box{.offset = {}, .extent = parameter.local_shape()};
  for (int dim = 0; dim < spec.shape.num_dims(); ++dim) {
    if (spec.placement[static_cast<size_t>(dim)] == Axis::kTensor)
      box.offset[static_cast<size_t>(dim)] = rank * box.extent[dim];
  }
  return box;
}

bool is_cut(const Parameter& parameter) {
  return !(parameter.local_shape() == parameter.spec().shape);
}

bool stores_parameter(const Parameter& parameter, int tensor_rank) {
  return parameter.slots().front() == 0 && (tensor_rank == 0 || is_cut(parameter));
}

ModelState::ModelState(const FlatLayout& layout, ParameterTable& table, Communicator& group,
                       int tensor_rank, Kernels& kernels, int zero_stage, Arenas& arenas)
    : layout_(layout),
      table_(table),
      group_(group),
      kernels_(kernels),
      sharded_(zero_stage > 0 && group.size() > 1),
      values_are_sharded_(zero_stage > 2 && group.size() > 1),
      has_working_copy_(kernels.dtype() != kernels.gradient_dtype()),
      owned_(layout.owned_by(group.rank())) {
  const Shape whole{layout.num_value_elements};
  const Shape shard{layout.num_shard_elements};
  const Shape& state = sharded_ ? shard : whole;
  values_ = arenas.parameters.allocate(has_working_copy_ ? kernels.dtype() : DType::kF32,
                                       values_are_sharded_ ? shard : whole);
  if (has_working_copy_) masters_ = arenas.optimizer.allocate(DType::kF32, state);
  m_ = arenas.optimizer.allocate(DType::kF32, state);
  v_ = arenas.optimizer.allocate(DType::kF32, state);
  if (arenas.device_kind != DeviceKind::kCpu) {
    for (Tensor* copy : {&host_weights_, &host_m_, &host_v_})
      *copy = arenas.staging.allocate(DType::kF32, shard);
  }
  for (size_t p = 0; p < layout.parameters.size(); ++p) {
    const FlatParameter& flat = layout.parameters[p];
    Parameter& parameter = *table.all()[p];
    if (!values_are_sharded_) {
      parameter.bind_value(
          values_.flat(flat.value_begin, flat.num_elements).reshape(parameter.local_shape()));
    }
    boxes_.push_back(box_of(parameter, tensor_rank));
    stores_.push_back(stores_parameter(parameter, tensor_rank));
  }
  updated_ = sharded_ ? owned_ : whole_ranges();
}

std::vector<OwnedRange> ModelState::whole_ranges() const {
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

Tensor ModelState::values_of(const OwnedRange& range) const {
  return values_.flat(values_are_sharded_ ? range.shard_begin : range.value_begin, range.count);
}

Tensor ModelState::own_values(const Bucket& bucket) const {
  const int64_t begin = values_are_sharded_
                            ? bucket.shard_begin
                            : bucket.value_begin + group_.rank() * bucket.shard_elements;
  return values_.flat(begin, bucket.shard_elements);
}

Tensor ModelState::own_part(Tensor state, const Bucket& bucket) const {
  const int64_t begin =
      sharded_ ? bucket.shard_begin : bucket.value_begin + group_.rank() * bucket.shard_elements;
  return state.flat(begin, bucket.shard_elements);
}

Tensor ModelState::state_of(Tensor state, const OwnedRange& range) const {
  return state.flat(sharded_ ? range.shard_begin : range.value_begin, range.count);
}

Tensor ModelState::weights_of(const OwnedRange& range) const {
  return has_working_copy_ ? state_of(masters_, range) : values_of(range);
}

void ModelState::initialize(uint64_t seed, Stream& stream) {
  constexpr int64_t kBlock = 1 << 16;
  struct Part {
    size_t parameter;
    int64_t begin;
    std::span<float> out;
  };
  std::vector<Part> parts;
  for (const OwnedRange& range : owned_) {
    const Tensor values =
        has_host_copy() ? host_weights_.flat(range.shard_begin, range.count) : weights_of(range);
    for (int64_t done = 0; done < range.count; done += kBlock) {
      const int64_t count = std::min(kBlock, range.count - done);
      parts.push_back({static_cast<size_t>(range.parameter),
                       range.begin + done,
                       {values.as<float>() + done, static_cast<size_t>(count)}});
    }
  }
  ThreadPool pool(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 8U)));
  pool.run(static_cast<int64_t>(parts.size()), [&](int64_t i, int) {
    const Part& part = parts[static_cast<size_t>(i)];
    draw(table_.all()[part.parameter]->spec(), boxes_[part.parameter], seed, part.begin, part.out);
  });
  upload(stream);
  stream.fill_zero(m_.data(), m_.size_bytes());
  stream.fill_zero(v_.data(), v_.size_bytes());
  if (has_working_copy_ && !sharded_) gather(masters_, stream);
  gather_values(stream);
}

template <typename Copy>
void ModelState::for_each_copy(const Copy& copy) const {
  if (!has_host_copy()) return;
  if (sharded_) {
    copy(m_, host_m_);
    copy(v_, host_v_);
    if (has_working_copy_) return copy(masters_, host_weights_);
  }
  for (int b = 0; b < layout_.num_value_buckets; ++b) {
    const Bucket& bucket = layout_.buckets[static_cast<size_t>(b)];
    const auto host = [&](const Tensor& of) {
      return of.flat(bucket.shard_begin, bucket.shard_elements);
    };
    copy(has_working_copy_ ? own_part(masters_, bucket) : own_values(bucket), host(host_weights_));
    if (sharded_) continue;
    copy(own_part(m_, bucket), host(host_m_));
    copy(own_part(v_, bucket), host(host_v_));
  }
}

void ModelState::download(Stream& stream) {
  for_each_copy([&](const Tensor& device, const Tensor& host) {
    stream.copy(host.data(), device.data(), host.size_bytes());
  });
}

void ModelState::upload(Stream& stream) {
  for_each_copy([&](const Tensor& device, const Tensor& host) {
    stream.copy(device.data(), host.data(), host.size_bytes());
  });
}

void ModelState::finish_load(Stream& stream) {
  upload(stream);
  if (!sharded_) {
    gather(m_, stream);
    gather(v_, stream);
    if (has_working_copy_) gather(masters_, stream);
  }
  gather_values(stream);
}

void ModelState::gather_values(Stream& stream) {
  if (has_working_copy_ && !sharded_) return kernels_.cast(stream, masters_, values_);
  if (has_working_copy_) {
    for (int b = 0; b < layout_.num_value_buckets; ++b) {
      const Bucket& bucket = layout_.buckets[static_cast<size_t>(b)];
      kernels_.cast(stream, masters_.flat(bucket.shard_begin, bucket.shard_elements),
                    own_values(bucket));
    }
  }
  if (!values_are_sharded_) gather(values_, stream);
}

// Each rank's shard of value space to all.
void ModelState::gather(Tensor whole, Stream& stream) {
  if (group_.size() == 1) return;
  for (int b = 0; b < layout_.num_value_buckets; ++b) {
    const Bucket& bucket = layout_.buckets[static_cast<size_t>(b)];
    const Tensor all = whole.flat(bucket.value_begin, bucket.shard_elements * layout_.num_ranks);
    group_
        .all_gather(all.flat(group_.rank() * bucket.shard_elements, bucket.shard_elements), all,
                    stream)
        .then(stream);
  }
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
  update_tensors_.clear();
  for (const OwnedRange& range : updated_) {
    const Tensor gradient = sharded_ ? reduced_shard.flat(range.shard_begin, range.count)
                                     : value_buffer.flat(range.value_begin, range.count);
    update_tensors_.push_back(
        {.parameter = weights_of(range),
         .gradient = gradient,
         .m = state_of(m_, range),
         .v = state_of(v_, range),
         .working = has_working_copy_ ? values_of(range) : Tensor{},
         .decays = layout_.parameters[static_cast<size_t>(range.parameter)].decay});
  }
  kernels_.adamw_all(compute, decayed, plain, update_tensors_);
  if (sharded_ && !values_are_sharded_) gather(values_, compute);
}

StateSlice ModelState::slice_of(const OwnedRange& range, StateKind kind) const {
  const auto p = static_cast<size_t>(range.parameter);
  const auto data = [&]() -> Tensor {
    const auto copied = [&](const Tensor& host, const Tensor& state) {
      return has_host_copy() ? host.flat(range.shard_begin, range.count) : state;
    };
    switch (kind) {
      case StateKind::kWeight:
        return copied(host_weights_, weights_of(range));
      case StateKind::kMoment1:
        return copied(host_m_, state_of(m_, range));
      case StateKind::kMoment2:
        return copied(host_v_, state_of(v_, range));
    }
    return {};
  };
  return {.parameter = layout_.parameters[p].name,
          .kind = kind,
          .global_shape = table_.all()[p]->spec().shape,
          .box = boxes_[p],
          .begin = range.begin,
          .data = data()};
}

std::vector<StateSlice> ModelState::owned_slices() const {
  std::vector<StateSlice> slices;
  for (const OwnedRange& range : owned_) {
    if (!stores_[static_cast<size_t>(range.parameter)]) continue;
    for (const StateKind kind : kStateKinds) slices.push_back(slice_of(range, kind));
  }
  return slices;
}

std::vector<StateSlice> ModelState::needed_slices() const {
  std::vector<StateSlice> slices;
  for (const OwnedRange& range : owned_) {
    for (const StateKind kind : kStateKinds) slices.push_back(slice_of(range, kind));
  }
  return slices;
}

}  // namespace leasehold
