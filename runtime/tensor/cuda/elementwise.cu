#include "runtime/tensor/cuda/elementwise.h"
#include "runtime/tensor/cuda/map.h"

namespace leasehold::cuda {

namespace {

template <typename T, bool kHasX>
struct ResidualAddOp {
  static constexpr int kWidth = kPack<T>;
  const T* x;
  const T* delta;
  DropoutMask dropout;
  T* out;

  template <bool kVector>
  __device__ void run(int64_t i, int count) const {
    float base[kWidth], added[kWidth], factors[kWidth];
    if constexpr (kHasX) load<kVector>(x + i, count, base);
    load<kVector>(delta + i, count, added);
    dropout.factors(i, factors);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float kept = added[j] * factors[j];
      added[j] = kHasX ? base[j] + kept : kept;
    }
    store<kVector>(out + i, count, added);
  }
};

template <typename T>
struct AddOp {
  static constexpr int kWidth = kPack<T>;
  const T* left;
  const T* right;
  T* out;

  template <bool kVector>
  __device__ void run(int64_t i, int count) const {
    Compute<T> sum[kWidth], more[kWidth];
    load<kVector>(left + i, count, sum);
    load<kVector>(right + i, count, more);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum[j] += more[j];
    store<kVector>(out + i, count, sum);
  }
};

template <typename T>
struct SumPartsOp {
  static constexpr int kWidth = kPack<T>;
  const T* parts;
  int64_t num_parts;
  int64_t part_elements;
  T* out;

  template <bool kVector>
  __device__ void run(int64_t i, int count) const {
    float sum[kWidth];
    load<kVector>(parts + i, count, sum);
    for (int64_t part = 1; part < num_parts; ++part) {
      float more[kWidth];
      load<kVector>(parts + part * part_elements + i, count, more);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) sum[j] += more[j];
    }
    store<kVector>(out + i, count, sum);
  }
};

template <typename T>
struct FillOp {
  static constexpr int kWidth = kPack<T>;
  T* out;
  float value;

  template <bool kVector>
  __device__ void run(int64_t i, int count) const {
    Compute<T> values[kWidth];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) values[j] = value;
    store<kVector>(out + i, count, values);
  }
};

template <typename From, typename To>
struct CastOp {
  static constexpr int kWidth = sizeof(From) < sizeof(To) ? kPack<To> : kPack<From>;
  const From* in;
  To* out;

  template <bool kVector>
  __device__ void run(int64_t i, int count) const {
    To values[kWidth];
    load<kVector>(in + i, count, values);
    store<kVector>(out + i, count, values);
  }
};

}  // namespace

template <typename T>
void residual_add(const T* x, const T* delta, const DropoutMask& dropout, T* out, int64_t count,
                  cudaStream_t stream) {
  const bool aligned = are_aligned({x, delta, out});
  if (x == nullptr) {
    launch_map(ResidualAddOp<T, false>{x, delta, dropout, out}, count, aligned, stream);
  } else {
    launch_map(ResidualAddOp<T, true>{x, delta, dropout, out}, count, aligned, stream);
  }
}

template <typename T>
void add(const T* left, const T* right, T* out, int64_t count, cudaStream_t stream) {
  launch_map(AddOp<T>{left, right, out}, count, are_aligned({left, right, out}), stream);
}

template <typename T>
void sum_parts(const T* parts, int64_t num_parts, T* out, int64_t count, cudaStream_t stream) {
  const bool aligned = are_aligned({parts, out}) && count % kPack<T> == 0;
  launch_map(SumPartsOp<T>{parts, num_parts, count, out}, count, aligned, stream);
}

template <typename T>
void fill(T* out, float value, int64_t count, cudaStream_t stream) {
  launch_map(FillOp<T>{out, value}, count, are_aligned({out}), stream);
}

template <typename From, typename To>
void cast(const From* in, To* out, int64_t count, cudaStream_t stream) {
  launch_map(CastOp<From, To>{in, out}, count, are_aligned({in, out}), stream);
}

#define LEASEHOLD_INSTANTIATE(T)                                                                 \
  template void residual_add(const T*, const T*, const DropoutMask&, T*, int64_t, cudaStream_t); \
  template void sum_parts(const T*, int64_t, T*, int64_t, cudaStream_t)
LEASEHOLD_INSTANTIATE(float);
LEASEHOLD_INSTANTIATE(__nv_bfloat16);
#undef LEASEHOLD_INSTANTIATE

#define LEASEHOLD_INSTANTIATE(T)                                    \
  template void add(const T*, const T*, T*, int64_t, cudaStream_t); \
  template void fill(T*, float, int64_t, cudaStream_t);             \
  template void cast(const T*, float*, int64_t, cudaStream_t);      \
  template void cast(const T*, double*, int64_t, cudaStream_t);     \
  template void cast(const T*, __nv_bfloat16*, int64_t, cudaStream_t)
LEASEHOLD_INSTANTIATE(float);
LEASEHOLD_INSTANTIATE(double);
LEASEHOLD_INSTANTIATE(__nv_bfloat16);
#undef LEASEHOLD_INSTANTIATE

}  // namespace leasehold::cuda
