#include "bench/noise.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bench/text_ids.h"
#include "runtime/base/half_floats.h"
#include "runtime/base/random.h"

namespace leasehold {

namespace {

constexpr int64_t kCount = int64_t{1} << 18;
constexpr int64_t kBytes = 3 * 4 * kCount;
constexpr double kTimeoutS = 600;

}  // namespace

Noise::Noise(Device& device, Kernels& kernels, Stream& stream)
    : stream_(stream), arena_(Arena::create(device, "noise", kBytes).value()) {
  const RandomSite site = RandomSite::make(1, "noise");
  std::vector<float> values(kCount), sizes(kCount);
  std::vector<uint16_t> rounded(kCount);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 2 * site.uniform(i) - 1;
    sizes[i] = std::abs(values[i]);
    rounded[i] = float_to_bf16(values[i]);
  }
  const bool is_bf16 = kernels.dtype() == DType::kBf16;
  working_ = arena_.allocate(kernels.dtype(), {kCount});
  exact_ = arena_.allocate(kernels.gradient_dtype(), {kCount});
  positive_ = arena_.allocate(kernels.gradient_dtype(), {kCount});
  const void* working = is_bf16 ? static_cast<const void*>(rounded.data()) : values.data();
  stream_.copy(working_.data(), working, working_.size_bytes());
  stream_.copy(exact_.data(), values.data(), exact_.size_bytes());
  stream_.copy(positive_.data(), sizes.data(), positive_.size_bytes());
  throw_if_error(stream_.synchronize(Deadline::after_s(kTimeoutS)));
}

void Noise::fill(Tensor tensor) {
  repeat(tensor.dtype() == working_.dtype() ? working_ : exact_, tensor);
}

void Noise::fill_positive(Tensor tensor) { repeat(positive_, tensor); }

void Noise::fill_ids(Tensor tensor, int64_t limit) {
  const RandomSite site = RandomSite::make(1, "ids");
  std::vector<int32_t> ids(static_cast<size_t>(tensor.num_elements()));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = text_id(site.uniform(i), limit);
  stream_.copy(tensor.data(), ids.data(), tensor.size_bytes());
  throw_if_error(stream_.synchronize(Deadline::after_s(kTimeoutS)));
}

// Doubles what is there.
void Noise::repeat(const Tensor& source, const Tensor& tensor) {
  LEASEHOLD_CHECK(tensor.dtype() == source.dtype(), "noise of {} for {}",
                  dtype_name(source.dtype()), dtype_name(tensor.dtype()));
  auto* to = static_cast<std::byte*>(tensor.data());
  int64_t done = std::min(source.size_bytes(), tensor.size_bytes());
  stream_.copy(to, source.data(), done);
  while (done < tensor.size_bytes()) {
    const int64_t count = std::min(done, tensor.size_bytes() - done);
    stream_.copy(to + done, to, count);
    done += count;
  }
}

}  // namespace leasehold
