#include "tests/support/module_harness.h"

#include "runtime/base/half_floats.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

double element(Tensor tensor, int64_t i) {
  if (tensor.dtype() == DType::kF64) return tensor.as<double>()[i];
  if (tensor.dtype() == DType::kBf16) return bf16_to_float(tensor.as<Bf16>()[i].bits);
  return tensor.as<float>()[i];
}

void set_element(Tensor tensor, int64_t i, double value) {
  if (tensor.dtype() == DType::kF64) {
    tensor.as<double>()[i] = value;
  } else if (tensor.dtype() == DType::kBf16) {
    tensor.as<Bf16>()[i].bits = float_to_bf16(static_cast<float>(value));
  } else {
    tensor.as<float>()[i] = static_cast<float>(value);
  }
}

std::vector<double> elements(Tensor tensor) {
  std::vector<double> values;
  for (int64_t i = 0; i < tensor.num_elements(); ++i) values.push_back(element(tensor, i));
  return values;
}

int64_t element_of_whole(const Parameter& parameter, int64_t rank, int64_t i) {
  const Shape &local = parameter.local_shape(), &whole = parameter.spec().shape;
  int64_t element = 0, of_local = 1, of_whole = 1;  // elements that one step along the dim skips
  for (int dim = local.num_dims() - 1; dim >= 0; --dim) {
    const bool is_cut = parameter.spec().placement[static_cast<size_t>(dim)] == Axis::kTensor;
    const int64_t index = i / of_local % local[dim] + (is_cut ? rank * local[dim] : 0);
    element += index * of_whole;
    of_local *= local[dim];
    of_whole *= whole[dim];
  }
  return element;
}

ModuleHarness::ModuleHarness(Device& device, Kernels& kernels,
                             const std::vector<ParameterSpec>& specs, const Factory& create,
                             int64_t B, int64_t T, Recompute recompute, Communicator* tensor_axis)
    : device_(device),
      kernels_(kernels),
      recompute_(recompute),
      tensor_(tensor_axis),
      table_(specs, {.tensor = tensor_axis == nullptr ? 1 : tensor_axis->size()}),
      stream_(device.create_stream("test").value()),
      module_(create(table_)),
      activations_(Arena::measuring("activations")),
      scratch_(Arena::measuring("scratch")),
      batch_shape_({B, T}) {
  for (auto& parameter : table_.all()) {
    parameter->bind_value(tensor(kernels.dtype(), parameter->local_shape()));
    for (int slot = 0; slot < parameter->spec().num_gradient_slots; ++slot) {
      parameter->bind_gradient(slot, tensor(kernels.gradient_dtype(), parameter->local_shape()));
    }
  }
  // Prepares both kinds of Saved, to measure them. They share scratch, and the one without a
  // backward has nothing else.
  for (const bool with_backward : {true, false})
    (void)module_->prepare(prepare_context(with_backward));
  activations_ = Arena::create(device, "activations", activations_.peak_bytes()).value();
  scratch_ = Arena::create(device, "scratch", scratch_.peak_bytes()).value();
  saved_ = module_->prepare(prepare_context(true));
  saved_without_backward_ = module_->prepare(prepare_context(false));
}

int64_t ModuleHarness::tensor_rank() const { return tensor_ == nullptr ? 0 : tensor_->rank(); }

void ModuleHarness::randomize(uint64_t random_seed, double standard_deviation) {
  for (auto& parameter : table_.all()) {
    const auto site = RandomSite::make(random_seed, parameter->name());
    const double mean = parameter->spec().initializer.kind == Initializer::Kind::kOne ? 1 : 0;
    const Tensor value = parameter->value();
    for (int64_t i = 0; i < value.num_elements(); ++i) {
      const auto at = static_cast<uint64_t>(element_of_whole(*parameter, tensor_rank(), i));
      set_element(value, i, mean + standard_deviation * site.normal(at));
    }
  }
}

void ModuleHarness::initialize(uint64_t random_seed) {
  for (auto& parameter : table_.all()) {
    const auto site = RandomSite::make(random_seed, parameter->name());
    const Initializer& initializer = parameter->spec().initializer;
    const Tensor value = parameter->value();
    for (int64_t i = 0; i < value.num_elements(); ++i) {
      double start = initializer.kind == Initializer::Kind::kOne ? 1 : 0;
      if (initializer.kind == Initializer::Kind::kNormal) {
        const auto at = static_cast<uint64_t>(element_of_whole(*parameter, tensor_rank(), i));
        start = initializer.standard_deviation * site.normal(at);
      }
      set_element(value, i, start);
    }
  }
}

Tensor ModuleHarness::tensor(DType dtype, const Shape& shape) {
  const int64_t size_bytes = std::max<int64_t>(1, shape.num_elements() * size_of(dtype));
  memory_.push_back(device_.allocate(size_bytes, MemoryKind::kDevice, "test").value());
  return {memory_.back()->data(), dtype, shape};
}

Tensor ModuleHarness::random_tensor(const Shape& shape, uint64_t random_seed) {
  const auto site = RandomSite::make(random_seed, "random_tensor");
  const Tensor result = tensor(kernels_.dtype(), shape);
  for (int64_t i = 0; i < result.num_elements(); ++i) {
    set_element(result, i, site.normal(static_cast<uint64_t>(i)));
  }
  return result;
}

void ModuleHarness::random_microbatch(int64_t vocab, uint64_t random_seed) {
  const auto site = RandomSite::make(random_seed, "random_microbatch");
  microbatch.tokens = tensor(DType::kI32, batch_shape_);
  microbatch.targets = tensor(DType::kI32, batch_shape_);
  microbatch.loss = tensor(DType::kF64, {1});
  const int64_t N = batch_shape_.num_elements();
  microbatch.num_targets = N;
  for (int64_t i = 0; i < N; ++i) {
    const auto draw = [&](int64_t word) {
      return static_cast<int32_t>(site.word(static_cast<uint64_t>(word)) %
                                  static_cast<uint64_t>(vocab));
    };
    microbatch.tokens.as<int32_t>()[i] = draw(2 * i);
    microbatch.targets.as<int32_t>()[i] = draw(2 * i + 1);
  }
}

PrepareContext ModuleHarness::prepare_context(bool with_backward) {
  return {.kernels = kernels_,
          .activations = activations_,
          .scratch = scratch_,
          .B = batch_shape_[0],
          .T = batch_shape_[1],
          .training = with_backward,
          .recompute = recompute_,
          .tensor = tensor_};
}

StepContext ModuleHarness::context() {
  return {.kernels = kernels_,
          .stream = *stream_,
          .hooks = hooks != nullptr ? *hooks : no_hooks_,
          .microbatch = microbatch,
          .seed = seed,
          .training = training,
          .gradients = gradients,
          .tensor = tensor_};
}

void ModuleHarness::synchronize() { throw_if_error(stream_->synchronize(Deadline::after_s(60))); }

void ModuleHarness::forward(Tensor input, Tensor output) {
  StepContext step = context();
  module_->forward(step, input, output, *saved_without_backward_);
  synchronize();
}

void ModuleHarness::forward_backward(Tensor input, Tensor output, Tensor output_gradient,
                                     Tensor input_gradient) {
  StepContext step = context();
  module_->forward(step, input, output, *saved_);
  module_->backward(step, output_gradient, input_gradient, *saved_);
  synchronize();
}

double ModuleHarness::mean_loss() {
  return element(microbatch.loss, 0) / static_cast<double>(microbatch.num_targets);
}

}  // namespace leasehold
