// What CUDA kernels promise beyond the conformance suite's table.
#include "runtime/tensor/kernels_cuda.h"

#include <array>
#include <bit>
#include <cstring>
#include <gtest/gtest.h>

#include "runtime/device/cuda.h"
#include "runtime/tensor/arena.h"
#include "tests/runtime/tensor/schedules.h"

namespace leasehold {

namespace {

Deadline soon() { return Deadline::after_s(60); }

class CudaKernelsPrecisionTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    auto device = create_cuda_device(0);
    if (!device.ok() && !always_has_gpu()) GTEST_SKIP() << device.status().message();
    ASSERT_TRUE(device.ok()) << device.status().message();
    device_ = std::move(device).value();
    auto kernels = create_cuda_kernels(*device_, GetParam());
    ASSERT_TRUE(kernels.ok()) << kernels.status().message();
    kernels_ = std::move(kernels).value();
    stream_ = device_->create_stream("test").value();
    arena_.emplace(Arena::create(*device_, "test", 1 << 22).value());
  }

  Tensor of(DType dtype, const Shape& shape) { return arena_->allocate(dtype, shape); }
  Tensor workspace(int64_t size_bytes) { return of(DType::kU8, {size_bytes}); }
  template <typename T>
  Tensor upload(DType dtype, const Shape& shape, const std::vector<T>& values) {
    const Tensor tensor = of(dtype, shape);
    stream_->copy(tensor.data(), values.data(), tensor.size_bytes());
    EXPECT_TRUE(stream_->synchronize(soon()).ok());
    return tensor;
  }
  // Values rounded to the kernels' dtype, which they fit.
  Tensor upload_floats(const Shape& shape, const std::vector<float>& values) {
    if (GetParam() == DType::kF32) return upload(DType::kF32, shape, values);
    const Tensor wide = upload(DType::kF32, shape, values);
    const Tensor narrow = of(DType::kBf16, shape);
    kernels_->cast(*stream_, wide, narrow);
    return narrow;
  }
  std::vector<unsigned char> download(const Tensor& tensor) {
    std::vector<unsigned char> bytes(static_cast<size_t>(tensor.size_bytes()));
    stream_->copy(bytes.data(), tensor.data(), tensor.size_bytes());
    const Status status = stream_->synchronize(soon());
    EXPECT_TRUE(status.ok()) << status.message();
    return bytes;
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<Stream> stream_;
  std::optional<Arena> arena_;
};

TEST_P(CudaKernelsPrecisionTest, NamesThePartAndThePrecision) {
  EXPECT_EQ(kernels_->dtype(), GetParam());
  EXPECT_EQ(kernels_->gradient_dtype(), DType::kF32);
  const std::string arithmetic_class = kernels_->arithmetic_class();
  for (const char* part : {"cuda kernels", "sm_", "cuBLASLt", dtype_name(GetParam())}) {
    EXPECT_NE(arithmetic_class.find(part), std::string::npos) << arithmetic_class;
  }
}

TEST_P(CudaKernelsPrecisionTest, ATokenOutsideTheVocabularyFailsTheStream) {
  const Tensor table = of(GetParam(), {7, 8}), out = of(GetParam(), {6, 8});
  const Tensor dtable = of(DType::kF32, {7, 8});
  const Tensor scratch = workspace(kernels_->embedding_backward_workspace_bytes(6, 7, 8));
  for (const int32_t id : {14, -1}) {
    for (const bool backward : {false, true}) {
      SCOPED_TRACE(testing::Message() << id << (backward ? " backward" : " forward"));
      stream_ = device_->create_stream("test").value();
      const Tensor tokens = upload<int32_t>(DType::kI32, {2, 3}, {13, 0, 7, 6, id, 1});
      if (backward) {
        kernels_->embedding_backward(*stream_, tokens, out, {}, dtable, {}, Write::kOverwrite,
                                     scratch, {1, 2});
      } else {
        kernels_->embedding_forward(*stream_, tokens, table, {}, {}, out, {1, 2});
      }
      const Status status = stream_->synchronize(soon());
      EXPECT_EQ(status.code(), Code::kInternal);
      EXPECT_NE(status.message().find(std::to_string(id)), std::string::npos) << status.message();
    }
  }
}

TEST_P(CudaKernelsPrecisionTest, ATargetBehindTheVocabularyFailsTheStream) {
  const Tensor logits = of(GetParam(), {2, 5}), loss = of(DType::kF64, {1});
  const Tensor statistics = of(DType::kF64, {2, 3});
  const Tensor scratch = workspace(kernels_->cross_entropy_workspace_bytes(2, 5));
  const auto targets = [&](int32_t last) {
    return upload<int32_t>(DType::kI32, {2}, {-100, last});
  };
  kernels_->cross_entropy(*stream_, logits, targets(4), 1, loss, scratch);
  kernels_->cross_entropy_statistics(*stream_, logits, targets(14), {1, 3}, true, statistics);
  EXPECT_TRUE(stream_->synchronize(soon()).ok());
  kernels_->cross_entropy(*stream_, logits, targets(5), 1, loss, scratch);
  EXPECT_EQ(stream_->synchronize(soon()).code(), Code::kInternal);
  stream_ = device_->create_stream("another").value();
  kernels_->cross_entropy_statistics(*stream_, logits, targets(15), {1, 3}, true, statistics);
  EXPECT_EQ(stream_->synchronize(soon()).code(), Code::kInternal);
}

TEST_P(CudaKernelsPrecisionTest, CrossEntropyInOneShardHasTheBitsOfTheWhole) {
  for (const int64_t V : {1030, 1032}) {
    constexpr int64_t kN = 3;
    std::vector<float> values;
    for (int64_t i = 0; i < kN * V; ++i)
      values.push_back(0.0625F * static_cast<float>((i * 7919) % 409 - 204));
    const Tensor whole = upload_floats({kN, V}, values), shard = upload_floats({kN, V}, values);
    const Tensor targets = upload<int32_t>(DType::kI32, {kN}, {-1, 410, 821});
    const Tensor loss = of(DType::kF64, {2}), statistics = of(DType::kF64, {1, kN, 3});
    const Tensor scratch = workspace(kernels_->cross_entropy_workspace_bytes(kN, V));
    kernels_->cross_entropy(*stream_, whole, targets, 0.3F, loss.rows(0, 1), scratch);
    kernels_->cross_entropy_statistics(*stream_, shard, targets, {}, true,
                                       statistics.reshape({kN, 3}));
    kernels_->cross_entropy_from_statistics(*stream_, statistics, targets, {}, 0.3F, shard,
                                            loss.rows(1, 1), scratch);
    const std::vector<unsigned char> bytes = download(loss);
    double losses[2];
    std::memcpy(losses, bytes.data(), sizeof losses);
    EXPECT_EQ(losses[0], losses[1]);
    EXPECT_GT(losses[0], 1);
    EXPECT_EQ(download(whole), download(shard));
  }
}

TEST_P(CudaKernelsPrecisionTest, CrossEntropyOfNotANumberIsNotANumber) {
  std::vector<float> values(10, 0.5F);
  values[7] = std::numeric_limits<float>::quiet_NaN();
  const Tensor logits = upload_floats({2, 5}, values), loss = of(DType::kF64, {1});
  const Tensor targets = upload<int32_t>(DType::kI32, {2}, {0, 0});
  kernels_->cross_entropy(*stream_, logits, targets, 0, loss,
                          workspace(kernels_->cross_entropy_workspace_bytes(2, 5)));
  double value = 0;
  std::memcpy(&value, download(loss).data(), sizeof value);
  EXPECT_NE(value, value);
}

TEST_P(CudaKernelsPrecisionTest, AdamWWritesTheWorkingWeightsRounded) {
  if (GetParam() != DType::kBf16) GTEST_SKIP() << "fp32 computes with the master weights";
  constexpr int64_t kCount = 1031;
  std::vector<float> values;
  for (int64_t i = 0; i < kCount; ++i)
    values.push_back(0.01F * static_cast<float>((i * 7919) % 1409 - 704));
  const auto state = [&] { return upload(DType::kF32, {kCount}, values); };
  const Tensor parameter = state(), gradient = state(), m = state();
  const Tensor v = of(DType::kF32, {kCount}), working = of(DType::kBf16, {kCount});
  kernels_->fill(*stream_, v, 0.25F);
  const AdamWStep step = {1e-2, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 1, 1};
  kernels_->adamw(*stream_, step, parameter, gradient, m, v, working);
  const Tensor expected = of(DType::kBf16, {kCount});
  kernels_->cast(*stream_, parameter, expected);
  EXPECT_EQ(download(working), download(expected));
}

TEST_P(CudaKernelsPrecisionTest, AdamWOverManyRangesHasTheBitsOfEach) {
  const bool has_working = GetParam() == DType::kBf16;
  // More than one launch has room for; lengths with and without whole packs and blocks, so that
  // most ranges of a common buffer begin at odd places.
  std::vector<int64_t> counts;
  int64_t total = 0;
  for (int64_t i = 0; i < 130; ++i) {
    counts.push_back(std::array<int64_t, 5>{1, 1024, 7, 3000, 64}[static_cast<size_t>(i % 5)]);
    total += counts.back();
  }
  const AdamWStep decayed = {1e-1, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 1.0, 1.0};
  const AdamWStep plain = {1e-1, 0.9, 0.999, 1e-8, 0.0, 0.1, 0.001, 1.0, 1.0};
  arena_.emplace(Arena::create(*device_, "test", 64 << 20).value());
  const auto run = [&](bool at_once) {
    const auto values = [&](float scale) {
      std::vector<float> made(static_cast<size_t>(total));
      for (size_t i = 0; i < made.size(); ++i)
        made[i] = scale * static_cast<float>((i * 7919) % 1409 + 1);
      return upload(DType::kF32, {total}, made);
    };
    const Tensor parameter = values(1e-3F), gradient = values(-2e-4F), m = values(1e-5F),
                 v = values(1e-6F);
    const Tensor working = has_working ? of(DType::kBf16, {total}) : Tensor();
    std::vector<AdamWTensors> all;
    for (int64_t i = 0, begin = 0; i < std::ssize(counts);
         begin += counts[static_cast<size_t>(i++)]) {
      const auto part = [&](const Tensor& whole) {
        return whole.present() ? whole.flat(begin, counts[static_cast<size_t>(i)]) : Tensor();
      };
      all.push_back({part(parameter), part(gradient), part(m), part(v), part(working), i % 3 == 0});
    }
    if (at_once) {
      kernels_->adamw_all(*stream_, decayed, plain, all);
    } else {
      for (const AdamWTensors& one : all) {
        kernels_->adamw(*stream_, one.decays ? decayed : plain, one.parameter, one.gradient, one.m,
                        one.v, one.working);
      }
    }
    std::vector<std::vector<unsigned char>> result = {download(parameter), download(m),
                                                      download(v)};
    if (has_working) result.push_back(download(working));
    return result;
  };
  EXPECT_EQ(run(true), run(false));
}

INSTANTIATE_TEST_SUITE_P(, CudaKernelsPrecisionTest, testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& tested) { return std::string(dtype_name(tested.param)); });

}  // namespace

}  // namespace leasehold
