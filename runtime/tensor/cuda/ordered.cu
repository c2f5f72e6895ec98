#include <cstring>

#include "runtime/tensor/cuda/map.h"
#include "runtime/tensor/cuda/ordered.h"

namespace leasehold::cuda {

namespace {

// An element at a time: nothing that a step does comes here.
template <typename T, typename Ordered>
struct ToOrderedOp {
  static constexpr int kWidth = 1;
  static constexpr int kMagnitudeBits = 8 * static_cast<int>(sizeof(Ordered)) - 1;
  static constexpr Ordered kGreatest = static_cast<Ordered>(~(~uint64_t{0} << kMagnitudeBits));
  const T* in;
  Ordered* out;
  bool nan_is_greatest;

  template <bool kVector>
  __device__ void run(int64_t i, int) const {
    const T value = in[i];
    Ordered bits;
    memcpy(&bits, &value, sizeof bits);
    // Negative numbers grow with their magnitude's bits the wrong way round.
    if (bits < 0) bits ^= kGreatest;
    if (value != value) bits = nan_is_greatest ? kGreatest : -kGreatest - 1;
    out[i] = bits;
  }
};

template <typename T, typename Ordered>
struct FromOrderedOp {
  static constexpr int kWidth = 1;
  const Ordered* in;
  T* out;

  template <bool kVector>
  __device__ void run(int64_t i, int) const {
    Ordered bits = in[i];
    if (bits < 0) bits ^= ToOrderedOp<T, Ordered>::kGreatest;
    T value;
    memcpy(&value, &bits, sizeof value);
    out[i] = value;
  }
};

}  // namespace

template <typename T, typename Ordered>
void to_ordered(const T* in, bool nan_is_greatest, Ordered* out, int64_t count,
                cudaStream_t stream) {
  static_assert(sizeof(T) == sizeof(Ordered), "bits for bits");
  launch_map(ToOrderedOp<T, Ordered>{in, out, nan_is_greatest}, count, false, stream);
}

template <typename T, typename Ordered>
void from_ordered(const Ordered* in, T* out, int64_t count, cudaStream_t stream) {
  launch_map(FromOrderedOp<T, Ordered>{in, out}, count, false, stream);
}

template void to_ordered(const float*, bool, int32_t*, int64_t, cudaStream_t);
template void to_ordered(const double*, bool, int64_t*, int64_t, cudaStream_t);
template void from_ordered(const int32_t*, float*, int64_t, cudaStream_t);
template void from_ordered(const int64_t*, double*, int64_t, cudaStream_t);

}  // namespace leasehold::cuda
