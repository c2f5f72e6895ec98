#include "runtime/tensor/kernels_cuda.h"

#include <cmath>
#include <fmt/format.h>

#include "runtime/device/cuda_device.h"
#include "runtime/tensor/cuda/elementwise.h"
#include "runtime/tensor/cuda/optimizer.h"
#include "runtime/tensor/kernels_cuda_arguments.h"
#include "runtime/tensor/kernels_cuda_linear.h"

namespace leasehold {

namespace {

// Raised when a kernel's order of operations changes, since bits change with it.
constexpr int kRevision = 2;

// task(element) with a value of a floating element type.
template <typename Task>
void with_any_float(DType dtype, Task&& task) {
  if (dtype == DType::kF64) return task(double());
  if (dtype == DType::kBf16) return task(__nv_bfloat16());
  LEASEHOLD_CHECK(dtype == DType::kF32, "a CUDA kernel of {}", dtype_name(dtype));
  task(float());
}

cuda::AdamWFactors factors_of(const AdamWStep& step) {
  const auto round = [](double value) { return static_cast<float>(value); };
  return {.gradient_scale = round(step.gradient_scale),
          .clip_scale = round(step.clip_scale),
          .beta1 = round(step.beta1),
          .rest1 = round(1.0 - step.beta1),
          .beta2 = round(step.beta2),
          .rest2 = round(1.0 - step.beta2),
          .decay = round(1.0 - step.lr * step.weight_decay),
          .step_size = round(step.lr / step.correction1),
          .inverse_root2 = round(1.0 / std::sqrt(step.correction2)),
          .eps = round(step.eps)};
}

}  // namespace

CudaKernels::CudaKernels(CudaDevice& device, DType dtype, std::unique_ptr<CudaLinear> linear)
    : CudaKernelSizes(dtype), device_(device), linear_(std::move(linear)) {}

CudaKernels::~CudaKernels() = default;

Result<std::unique_ptr<CudaKernels>> CudaKernels::create(CudaDevice& device, DType dtype) {
  LEASEHOLD_CHECK(dtype == DType::kF32 || dtype == DType::kBf16, "CUDA kernels of {}",
                  dtype_name(dtype));
  auto linear = CudaLinear::create(device, dtype);
  if (!linear.ok()) return linear.status();
  return std::unique_ptr<CudaKernels>(new CudaKernels(device, dtype, std::move(linear).value()));
}

Result<std::unique_ptr<Kernels>> create_cuda_kernels(Device& device, DType dtype) {
  auto kernels = CudaKernels::create(CudaDevice::from(device), dtype);
  if (!kernels.ok()) return kernels.status();
  return std::unique_ptr<Kernels>(std::move(kernels).value());
}

std::string CudaKernels::arithmetic_class() const {
  const CudaDeviceProperties& properties = device_.properties();
  return fmt::format("cuda kernels {}; {}; {} sm_{}{}; {}", kRevision, dtype_name(dtype()),
                     properties.name, properties.compute_capability_major,
                     properties.compute_capability_minor, linear_->arithmetic_class());
}

uint64_t CudaKernels::order_of_sums() const { return kRevision; }

std::string CudaKernels::algorithms() const { return linear_->algorithms(); }

int64_t CudaKernels::num_choices() const { return linear_->num_choices(); }

Status CudaKernels::use_algorithms(const std::string& text) {
  return text.empty() ? ok_status() : linear_->use_algorithms(text);
}

void CudaKernels::do_linear_forward(Stream& stream, Tensor x, Tensor weight, Tensor bias,
                                    Activation activation, Tensor pre, Tensor y) {
  linear_->forward(stream, x, weight, bias, activation, pre, y);
}

void CudaKernels::do_linear_backward_input(Stream& stream, Tensor dy, Tensor weight,
                                           Activation activation, Tensor pre, Tensor dx,
                                           Write write) {
  linear_->backward_input(stream, dy, weight, activation, pre, dx, write);
}

void CudaKernels::do_linear_backward_weight(Stream& stream, Tensor dy, Tensor x, Tensor dweight,
                                            Tensor dbias, Write write) {
  linear_->backward_weight(stream, dy, x, dweight, dbias, write);
}

void CudaKernels::do_residual_add(Stream& stream, Tensor x, Tensor delta, const Dropout& dropout,
                                  Tensor out) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::residual_add<T>(elements<T>(x), elements<T>(delta), mask_of(dropout), elements<T>(out),
                          out.num_elements(), handle);
  });
}

void CudaKernels::do_add(Stream& stream, Tensor left, Tensor right, Tensor out) {
  CudaStream::from(stream).enqueue([&](cudaStream_t handle) {
    with_any_float(out.dtype(), [&]<typename T>(T) {
      cuda::add<T>(elements<T>(left), elements<T>(right), elements<T>(out), out.num_elements(),
                   handle);
    });
  });
}

void CudaKernels::do_sum_parts(Stream& stream, Tensor parts, Tensor out) {
  enqueue_typed(stream, dtype(), [&]<typename T>(cudaStream_t handle, T) {
    cuda::sum_parts<T>(elements<T>(parts), parts.dim(0), elements<T>(out), out.num_elements(),
                       handle);
  });
}

void CudaKernels::do_fill(Stream& stream, Tensor out, float value) {
  CudaStream::from(stream).enqueue([&](cudaStream_t handle) {
    with_any_float(out.dtype(), [&]<typename T>(T) {
      cuda::fill<T>(elements<T>(out), value, out.num_elements(), handle);
    });
  });
}

void CudaKernels::do_cast(Stream& stream, Tensor in, Tensor out) {
  CudaStream::from(stream).enqueue([&](cudaStream_t handle) {
    with_any_float(in.dtype(), [&]<typename From>(From) {
      with_any_float(out.dtype(), [&]<typename To>(To) {
        cuda::cast<From, To>(elements<From>(in), elements<To>(out), out.num_elements(), handle);
      });
    });
  });
}

void CudaKernels::do_squared_norms(Stream& stream, Tensor x, float scale, Tensor sums) {
  static_assert(cuda::kNormChunk == kChunk);
  CudaStream::from(stream).enqueue([&](cudaStream_t handle) {
    cuda::squared_norms(elements<float>(x), scale, elements<double>(sums), x.num_elements(),
                        handle);
  });
}

void CudaKernels::do_adamw(Stream& stream, const AdamWStep& step, Tensor parameter, Tensor gradient,
                           Tensor m, Tensor v, Tensor working) {
  CudaStream::from(stream).enqueue([&](cudaStream_t handle) {
    cuda::adamw(factors_of(step), elements<float>(parameter), elements<float>(gradient),
                elements<float>(m), elements<float>(v), elements<__nv_bfloat16>(working),
                parameter.num_elements(), handle);
  });
}

void CudaKernels::do_adamw_all(Stream& stream, const AdamWStep& decayed, const AdamWStep& plain,
                               std::span<const AdamWTensors> all) {
  CudaStream::from(stream).enqueue([&](cudaStream_t handle) {
    cuda::AdamWRanges ranges{.decayed = factors_of(decayed), .plain = factors_of(plain)};
    const auto launch = [&] {
      cuda::adamw(ranges, handle);
      ranges.count = 0;
      ranges.num_blocks = 0;
    };
    for (const AdamWTensors& of : all) {
      if (of.parameter.num_elements() == 0) continue;
      if (!ranges.add({.parameter = elements<float>(of.parameter),
                       .gradient = elements<float>(of.gradient),
                       .m = elements<float>(of.m),
                       .v = elements<float>(of.v),
                       .working = elements<__nv_bfloat16>(of.working),
                       .count = of.parameter.num_elements(),
                       .decays = of.decays}))
        continue;
      launch();
    }
    if (ranges.count > 0) launch();
  });
}

}  // namespace leasehold
