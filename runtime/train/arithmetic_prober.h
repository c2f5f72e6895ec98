// How the arithmetic class is found out: operations on drawn inputs, and what came of them.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "runtime/base/digest.h"
#include "runtime/tensor/arena.h"
#include "runtime/train/arithmetic_class.h"

namespace leasehold {

constexpr uint64_t kProbeSeed = 20240520;

// Runs operations on drawn inputs in one arena and digests their outputs. With measuring arenas it
// only counts.
class Prober {
 public:
  // `host` is memory of the host; `largest_bytes` what counting told, 0 while it counts.
  Prober(Kernels& kernels, Stream& stream, Arena& arena, Arena& host, int64_t largest_bytes,
         double timeout_s)
      : kernels_(kernels),
        stream_(stream),
        arena_(arena),
        host_(host),
        output_bytes_(host.allocate(DType::kU8, Shape{largest_bytes})),
        timeout_s_(timeout_s) {}

  bool counting() const { return arena_.is_measuring(); }
  Kernels& kernels() { return kernels_; }
  Stream& stream() { return stream_; }

  Tensor empty(const Shape& shape) { return allocate(kernels_.dtype(), shape); }
  // Of gradient_dtype().
  Tensor gradients(const Shape& shape) { return allocate(kernels_.gradient_dtype(), shape); }
  Tensor workspace(int64_t size_bytes) { return allocate(DType::kU8, Shape{size_bytes}); }
  Tensor doubles(int64_t count) { return allocate(DType::kF64, Shape{count}); }

  // Values are drawn as fp32 on the host and converted by the device's own cast.
  Tensor drawn(const Shape& shape, const std::string& name, float scale) {
    return drawn(empty(shape), name, scale);
  }
  Tensor drawn(const Tensor& result, const std::string& name, float scale) {
    const Shape& shape = result.shape();
    const Tensor host = host_.allocate(DType::kF32, shape);
    const Tensor values = allocate(DType::kF32, shape);
    if (counting()) return result;
    const RandomSite site = RandomSite::make(kProbeSeed, name);
    for (int64_t i = 0; i < shape.num_elements(); ++i)
      host.as<float>()[i] = scale * site.normal(static_cast<uint64_t>(i));
    stream_.copy(values.data(), host.data(), host.size_bytes());
    kernels_.cast(stream_, values, result);
    return result;
  }

  // The same elements in rows that begin a multiple of 64 elements apart, as a head's logits do.
  Tensor rows_apart(const Tensor& dense) {
    constexpr int64_t kUnit = 64;
    const int64_t N = dense.dim(0), V = dense.dim(1);
    const Tensor result = allocate(dense.dtype(), {N, (V + kUnit - 1) / kUnit * kUnit}).columns(V);
    for (int64_t row = 0; row < N && !counting(); ++row) {
      const Tensor from = dense.rows(row, 1);
      stream_.copy(result.rows(row, 1).data(), from.data(), from.size_bytes());
    }
    return result;
  }

  Tensor tokens(int64_t rows, int64_t T, int64_t vocab) {
    const Tensor result = allocate(DType::kI32, Shape{rows, T});
    const Tensor host = host_.allocate(DType::kI32, Shape{rows, T});
    const RandomSite site = RandomSite::make(kProbeSeed, "tokens");
    if (counting()) return result;
    for (int64_t i = 0; i < rows * T; ++i) {
      host.as<int32_t>()[i] =
          static_cast<int32_t>(site.word(static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab));
    }
    stream_.copy(result.data(), host.data(), host.size_bytes());
    return result;
  }

  // Of one name each: what a checkpoint keeps is compared by it.
  void digest(const std::string& operation, std::initializer_list<Tensor> outputs) {
    if (counting()) return;
    Digester digester;
    for (const Tensor& output : outputs) {
      if (!output.present()) continue;
      LEASEHOLD_CHECK(output.size_bytes() <= output_bytes_.size_bytes(), "{}: {} bytes of output",
                      operation, output.size_bytes());
      copy_out(output);
      throw_if_error(stream_.synchronize(Deadline::after_s(timeout_s_)));
      digester.update(output_bytes_.data(), static_cast<size_t>(output.size_bytes()));
    }
    digests_.push_back({operation, digester.finish().low});
  }

  // Records a value that is not a digest but is compared as one.
  void record(const std::string& name, uint64_t value) {
    if (!counting()) digests_.push_back({name, value});
  }

  // Digests values that the host computed.
  void digest_host(const std::string& operation, const std::vector<double>& values) {
    if (counting()) return;
    Digester digester;
    digester.update(values.data(), values.size() * sizeof(double));
    digests_.push_back({operation, digester.finish().low});
  }

  std::vector<OperationDigest> take() { return std::move(digests_); }
  int64_t largest_bytes() const { return largest_bytes_; }  // of all that was allocated

 private:
  // Into output_bytes_, without what lies between rows.
  void copy_out(const Tensor& output) {
    if (output.is_dense())
      return stream_.copy(output_bytes_.data(), output.data(), output.size_bytes());
    for (int64_t i = 0; i < output.dim(0); ++i) {
      const Tensor row = output.rows(i, 1);
      stream_.copy(static_cast<char*>(output_bytes_.data()) + i * row.size_bytes(), row.data(),
                   row.size_bytes());
    }
  }

  Tensor allocate(DType dtype, const Shape& shape) {
    const Tensor tensor = arena_.allocate(dtype, shape);
    largest_bytes_ = std::max(largest_bytes_, tensor.size_bytes());
    return tensor;
  }

  Kernels& kernels_;
  Stream& stream_;
  Arena& arena_;
  Arena& host_;
  Tensor output_bytes_;  // of one output at a time
  int64_t largest_bytes_ = 0;
  double timeout_s_;
  std::vector<OperationDigest> digests_;
};

// Every operation that the job uses.
void probe_operations(Prober& prober, const ArithmeticProbe& sizes);

}  // namespace leasehold
