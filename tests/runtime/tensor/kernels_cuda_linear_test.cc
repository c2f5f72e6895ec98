// What the conformance suite does not ask of the CUDA linears: algorithms as text, scratch that
// streams share, products that pass in pieces, and gradients that are added to.
#include "runtime/tensor/kernels_cuda_linear.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/device/cuda_device.h"
#include "runtime/tensor/arena.h"
#include "runtime/tensor/cuda/product.h"

namespace leasehold {

namespace {

Deadline soon() { return Deadline::after_s(60); }

// Parameter: the dtype.
class CudaLinears : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    auto device = CudaDevice::create({});
    if (!device.ok()) GTEST_SKIP() << device.status().message();
    device_ = std::move(device).value();
    linear_ = make_linear();
    stream_ = make_stream("compute");
  }

  std::unique_ptr<CudaLinear> make_linear() {
    return CudaLinear::create(*device_, GetParam()).value();
  }
  std::unique_ptr<Stream> make_stream(const std::string& name) {
    return device_->create_stream(name).value();
  }
  // Of the dtype if not said, uniform in [-1, 1), drawn for the name.
  Tensor make(const std::string& name, const Shape& shape) { return make(name, shape, GetParam()); }
  Tensor make(const std::string& name, const Shape& shape, DType dtype) {
    memory_.push_back(
        device_->allocate(shape.num_elements() * size_of(dtype), MemoryKind::kDevice, name)
            .value());
    const Tensor tensor(memory_.back()->data(), dtype, shape);
    const RandomSite site = RandomSite::make(3, name);
    std::vector<char> bytes(static_cast<size_t>(tensor.size_bytes()));
    for (int64_t i = 0; i < tensor.num_elements(); ++i) {
      const auto bits = std::bit_cast<uint32_t>(
          static_cast<float>(2 * site.uniform(static_cast<uint64_t>(i)) - 1));
      const uint16_t upper = static_cast<uint16_t>(bits >> 16);
      if (dtype == DType::kBf16) std::memcpy(&bytes[static_cast<size_t>(2 * i)], &upper, 2);
      if (dtype == DType::kF32) std::memcpy(&bytes[static_cast<size_t>(4 * i)], &bits, 4);
    }
    stream_->copy(tensor.data(), bytes.data(), tensor.size_bytes());
    EXPECT_TRUE(stream_->synchronize(soon()).ok());
    return tensor;
  }
  std::vector<char> bytes_of(const Tensor& tensor) {
    std::vector<char> bytes(static_cast<size_t>(tensor.size_bytes()));
    stream_->copy(bytes.data(), tensor.data(), tensor.size_bytes());
    EXPECT_TRUE(stream_->synchronize(soon()).ok());
    return bytes;
  }
  std::vector<float> values_of(const Tensor& tensor) {
    const std::vector<char> bytes = bytes_of(tensor);
    std::vector<float> values(static_cast<size_t>(tensor.num_elements()));
    for (size_t i = 0; i < values.size(); ++i) {
      uint32_t bits = 0;
      const size_t width = tensor.dtype() == DType::kBf16 ? 2 : 4;
      std::memcpy(reinterpret_cast<char*>(&bits) + 4 - width, &bytes[width * i], width);
      values[i] = std::bit_cast<float>(bits);
    }
    return values;
  }

  // A forward and its two backwards, N x K -> O, with everything that a linear has.
  std::vector<std::vector<char>> run_all(CudaLinear& linear, int64_t N, int64_t K, int64_t O) {
    const Tensor x = make("x", {N, K}), weight = make("weight", {O, K}), bias = make("bias", {O});
    const Tensor pre = make("pre", {N, O}), y = make("y", {N, O}), dx = make("dx", {N, K});
    const Tensor before = make("before", {N, K});
    const Tensor dweight = make("dweight", {O, K}, DType::kF32);
    const Tensor dbias = make("dbias", {O}, DType::kF32);
    linear.forward(*stream_, x, weight, bias, Activation::kGelu, pre, y);
    linear.backward_input(*stream_, y, weight, Activation::kGelu, before, dx, Write::kOverwrite);
    linear.backward_weight(*stream_, y, x, dweight, dbias, Write::kOverwrite);
    return {bytes_of(pre), bytes_of(y), bytes_of(dx), bytes_of(dweight), bytes_of(dbias)};
  }

  std::unique_ptr<CudaDevice> device_;
  std::vector<std::unique_ptr<Memory>> memory_;
  std::unique_ptr<CudaLinear> linear_;
  std::unique_ptr<Stream> stream_;
};

INSTANTIATE_TEST_SUITE_P(, CudaLinears, testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& tested) { return std::string(dtype_name(tested.param)); });

TEST_P(CudaLinears, AlgorithmsThatWereWrittenDownGiveTheSameBits) {
  const auto first = run_all(*linear_, 64, 32, 48);
  const auto odd = run_all(*linear_, 7, 5, 3);
  const std::string text = linear_->algorithms();
  EXPECT_NE(text.find(linear_->arithmetic_class()), std::string::npos);
  const auto other = make_linear();
  const Status status = other->use_algorithms(text);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(other->algorithms(), text);
  EXPECT_EQ(run_all(*other, 64, 32, 48), first);
  EXPECT_EQ(run_all(*other, 7, 5, 3), odd);
  EXPECT_EQ(other->algorithms(), text) << "nothing was chosen anew";
}

TEST_P(CudaLinears, RowsThatLieApartAreProductsOfTheirOwn) {
  constexpr int64_t kN = 7, kK = 5, kO = 33, kStride = 64;
  const Tensor x = make("x", {kN, kK}), weight = make("weight", {kO, kK});
  const Tensor y = make("y", {kN, kStride}).columns(kO), dx = make("dx", {kN, kK});
  const Tensor dweight = make("dweight", {kO, kK}, DType::kF32);
  const auto run = [&](CudaLinear& linear) {
    linear.forward(*stream_, x, weight, {}, Activation::kNone, {}, y);
    linear.backward_input(*stream_, y, weight, Activation::kNone, {}, dx, Write::kOverwrite);
    linear.backward_weight(*stream_, y, x, dweight, {}, Write::kOverwrite);
    return std::vector{bytes_of(dx), bytes_of(dweight)};
  };
  const auto first = run(*linear_);
  const std::string text = linear_->algorithms();
  const std::string input = dtype_name(GetParam());
  for (const std::string& line : {"forward 7 33 5 " + input + " " + input + " none aligned",
                                  "input 7 5 33 " + input + " " + input + " none aligned",
                                  "weight 33 5 7 " + input + " F32 none aligned"}) {
    EXPECT_NE(text.find(line + " stride 64 = "), std::string::npos) << line << " in " << text;
  }
  const auto other = make_linear();
  ASSERT_TRUE(other->use_algorithms(text).ok());
  EXPECT_EQ(run(*other), first);
  EXPECT_EQ(other->algorithms(), text) << "nothing was chosen anew";
}

TEST_P(CudaLinears, AlgorithmsOfAnotherLibraryOrWithoutMeaningAreRefused) {
  const auto expected = run_all(*linear_, 64, 32, 48);
  const std::string text = linear_->algorithms();
  const auto refuses = [&](const std::string& bad, Code code) {
    const Status status = linear_->use_algorithms(bad);
    EXPECT_EQ(status.code(), code) << status.message();
  };
  std::string elsewhere = text;
  elsewhere.replace(text.find("cuBLASLt"), 8, "cuBLASMt");
  refuses(elsewhere, Code::kBadConfig);
  cuda::AlgorithmTable table = cuda::AlgorithmTable::parse(text).value();
  table.set({.rows = 64, .columns = 64, .depth = 64, .input = GetParam(), .output = GetParam()},
            cuda::Algorithm{});
  refuses(table.to_text(), Code::kBadConfig);
  refuses("nonsense", Code::kBadData);
  EXPECT_EQ(linear_->algorithms(), text) << "what was refused changed nothing";
  EXPECT_EQ(run_all(*linear_, 64, 32, 48), expected);
}

// Deep and small, so that parts of sums lie in the workspace where the library splits.
TEST_P(CudaLinears, StreamsTakeTurnsWithTheScratch) {
  const Tensor x = make("x", {16, 4096}), weight = make("weight", {8, 4096});
  const Tensor other_x = make("other x", {16, 4096});
  const Tensor y = make("y", {16, 8}), other_y = make("other y", {16, 8});
  linear_->forward(*stream_, x, weight, {}, Activation::kNone, {}, y);
  const auto expected = bytes_of(y);
  linear_->forward(*stream_, other_x, weight, {}, Activation::kNone, {}, other_y);
  const auto other_expected = bytes_of(other_y);
  for (int round = 0; round < 10; ++round) {
    const auto one = make_stream("one"), two = make_stream("two");
    one->fill_zero(y.data(), y.size_bytes());
    two->fill_zero(other_y.data(), other_y.size_bytes());
    for (int repeat = 0; repeat < 3; ++repeat) {
      linear_->forward(*one, x, weight, {}, Activation::kNone, {}, y);
      linear_->forward(*two, other_x, weight, {}, Activation::kNone, {}, other_y);
    }
    ASSERT_TRUE(one->synchronize(soon()).ok());
    ASSERT_TRUE(two->synchronize(soon()).ok());
    ASSERT_EQ(bytes_of(y), expected);
    ASSERT_EQ(bytes_of(other_y), other_expected);
  }
}

// So wide that rows pass a few at a time, and odd, so that our kernels finish them.
TEST_P(CudaLinears, WideProductsPassInPieces) {
  const int64_t N = 70, K = 3, O = 16385;
  const Tensor x = make("x", {N, K}), weight = make("weight", {O, K}), bias = make("bias", {O});
  const Tensor pre = make("pre", {N, O}), y = make("y", {N, O});
  linear_->forward(*stream_, x, weight, bias, Activation::kGelu, pre, y);
  const auto xs = values_of(x), weights = values_of(weight), biases = values_of(bias);
  const auto pres = values_of(pre), ys = values_of(y);
  const double rounding = GetParam() == DType::kBf16 ? 0x1p-8 : 0x1p-22;
  for (int64_t row = 0; row < N; ++row) {
    for (int64_t column = 0; column < O; ++column) {
      double value = biases[static_cast<size_t>(column)];
      for (int64_t k = 0; k < K; ++k) {
        value += double{xs[static_cast<size_t>(row * K + k)]} *
                 double{weights[static_cast<size_t>(column * K + k)]};
      }
      const auto at = static_cast<size_t>(row * O + column);
      ASSERT_NEAR(pres[at], value, rounding * std::abs(value) + 1e-6) << row << ", " << column;
      const double activated =
          0.5 * value *
          (1 + std::tanh(0.7978845608028654 * (value + 0.044715 * value * value * value)));
      ASSERT_NEAR(ys[at], activated, rounding * std::abs(activated) + 1e-6)
          << row << ", " << column;
    }
  }
}

// What is added is what would have been written, to the last bit, whatever finishes the product.
TEST_P(CudaLinears, WhatIsAddedToAGradientIsWhatWouldBeWritten) {
  for (const auto& [N, K, O] : {std::array<int64_t, 3>{64, 32, 48}, {33, 5, 7}, {128, 16, 8}}) {
    const Tensor dy = make("dy", {N, O}), x = make("x", {N, K});
    const Tensor dweight = make("dweight", {O, K}, DType::kF32);
    const Tensor dbias = make("dbias", {O}, DType::kF32);
    const auto old_weight = values_of(dweight), old_bias = values_of(dbias);
    linear_->backward_weight(*stream_, dy, x, dweight, dbias, Write::kAccumulate);
    const auto weight_sum = values_of(dweight), bias_sum = values_of(dbias);
    linear_->backward_weight(*stream_, dy, x, dweight, dbias, Write::kOverwrite);
    const auto weight = values_of(dweight), bias = values_of(dbias);
    for (size_t i = 0; i < weight.size(); ++i) ASSERT_EQ(weight_sum[i], old_weight[i] + weight[i]);
    for (size_t i = 0; i < bias.size(); ++i) ASSERT_EQ(bias_sum[i], old_bias[i] + bias[i]);
  }
}

}  // namespace

}  // namespace leasehold
