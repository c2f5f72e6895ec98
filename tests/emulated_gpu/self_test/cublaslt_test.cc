// The emulation of cuBLASLt tells algorithms apart, and refuses what the library refuses and what
// would be a mistake.
#include <array>
#include <cstring>
#include <cublasLt.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "runtime/device/cuda_device.h"
#include "runtime/device/cuda_stream.h"
#include "tests/emulated_gpu/emulation.h"

namespace leasehold::emulation {

namespace {

constexpr int kMost = 8;

// D (m, n) = A (m, k) B (k, n), fp32 or bf16, columns first.
struct Extents {
  int64_t m = 64, n = 32, k = 48;
};

class CublasLt : public testing::Test {
 protected:
  CublasLt() {
    reset();
    take_reports();
    set_lazy_loading(false);  // earlier tests of this program may have started the driver
    EXPECT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    device_ = CudaDevice::create({}).value();
    stream_ = device_->create_stream("compute").value();
    memory_ = device_->allocate(kBytes, MemoryKind::kDevice, "operands").value();
    describe({});
  }
  ~CublasLt() override {
    cublasLtDestroy(handle_);
    set_lazy_loading(true);
    reset();
  }

  static cublasLtMatrixLayoutOpaque_t layout(cudaDataType type, int64_t rows, int64_t columns,
                                             int64_t leading_dimension) {
    cublasLtMatrixLayoutOpaque_t made;
    EXPECT_EQ(cublasLtMatrixLayoutInit(&made, type, static_cast<uint64_t>(rows),
                                       static_cast<uint64_t>(columns), leading_dimension),
              CUBLAS_STATUS_SUCCESS);
    return made;
  }
  void describe(const Extents& e, cudaDataType in = CUDA_R_32F, cudaDataType out = CUDA_R_32F) {
    EXPECT_EQ(cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
              CUBLAS_STATUS_SUCCESS);
    a_ = layout(in, e.m, e.k, e.m);
    b_ = layout(in, e.k, e.n, e.k);
    d_ = layout(out, e.m, e.n, e.m);
    EXPECT_EQ(cublasLtMatmulPreferenceInit(&preference_), CUBLAS_STATUS_SUCCESS);
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{1} << 20);
  }
  template <typename Value>
  cublasStatus_t set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    return cublasLtMatmulDescSetAttribute(&operation_, attribute, &value, sizeof value);
  }
  template <typename Value>
  void prefer(cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(&preference_, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  }
  void set_epilogue(cublasLtEpilogue_t epilogue) {
    EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(epilogue)),
              CUBLAS_STATUS_SUCCESS);
  }

  // Asks for algorithms; they come to found_.
  cublasStatus_t ask() {
    std::array<cublasLtMatmulHeuristicResult_t, kMost> results{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, &operation_, &a_, &b_, &d_, &d_, &preference_, kMost, results.data(), &count);
    found_.assign(results.begin(), results.begin() + count);
    return status;
  }
  uint32_t scheme_of(const cublasLtMatmulHeuristicResult_t& result) {
    uint32_t scheme = 0;
    size_t written = 0;
    EXPECT_EQ(
        cublasLtMatmulAlgoConfigGetAttribute(&result.algo, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                             &scheme, sizeof scheme, &written),
        CUBLAS_STATUS_SUCCESS);
    return scheme;
  }
  // Runs found_[which] on operands that lie one behind the other, `shift` bytes away from aligned.
  cublasStatus_t run(size_t which, size_t workspace_bytes = 1 << 20, int64_t shift = 0,
                     const void* other_a = nullptr) {
    auto* base = static_cast<char*>(memory_->data());
    const float alpha = 1, beta = 0;
    const void* a = other_a != nullptr ? other_a : base + shift;
    return cublasLtMatmul(handle_, &operation_, &alpha, a, &a_, base + kPart + shift, &b_, &beta,
                          base + 2 * kPart + shift, &d_, base + 2 * kPart + shift, &d_,
                          &found_.at(which).algo, base + 3 * kPart, workspace_bytes,
                          CudaStream::from(*stream_).handle());
  }
  std::vector<float> output(const Extents& e) {
    std::vector<float> values(static_cast<size_t>(e.m * e.n));
    stream_->copy(values.data(), static_cast<char*>(memory_->data()) + 2 * kPart,
                  e.m * e.n * int64_t{4});
    const Status status = stream_->synchronize(Deadline::after_s(20));
    EXPECT_TRUE(status.ok()) << status.message();
    return values;
  }
  void fill_inputs() {
    std::vector<float> values(static_cast<size_t>(2 * kPart / 4));
    uint32_t state = 1;
    for (float& value : values) {
      state = state * 1664525 + 1013904223;
      value = static_cast<float>(state >> 8) / (1 << 24) - 0.5F;
    }
    stream_->copy(memory_->data(), values.data(), 2 * kPart);
    EXPECT_TRUE(stream_->synchronize(Deadline::after_s(20)).ok());  // before `values` goes
  }

  static constexpr int64_t kPart = 1 << 20;
  static constexpr int64_t kBytes = 4 * kPart + (1 << 20);
  std::unique_ptr<CudaDevice> device_;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Stream> stream_;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDescOpaque_t operation_;
  cublasLtMatrixLayoutOpaque_t a_, b_, d_;
  cublasLtMatmulPreferenceOpaque_t preference_;
  std::vector<cublasLtMatmulHeuristicResult_t> found_;
};

constexpr Extents kDeep = {.m = 16, .n = 8, .k = 1024};

TEST_F(CublasLt, OffersWhatDoesNotRepeatItsBitsWhereItIsNotForbidden) {
  describe(kDeep);
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(scheme_of(found_.front()), uint32_t{CUBLASLT_REDUCTION_SCHEME_INPLACE});
  fill_inputs();
  std::vector<std::vector<float>> results;
  for (int repeat = 0; repeat < 4; ++repeat) {
    ASSERT_EQ(run(0), CUBLAS_STATUS_SUCCESS);
    results.push_back(output(kDeep));
  }
  EXPECT_FALSE(results[0] == results[1] && results[1] == results[2] && results[2] == results[3]);

  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  for (const auto& result : found_) {
    EXPECT_EQ(scheme_of(result) & CUBLASLT_REDUCTION_SCHEME_INPLACE, 0U);
  }
}

TEST_F(CublasLt, AlgorithmsDifferInTheirBitsAndRepeatThem) {
  describe(kDeep);
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  ASSERT_GE(found_.size(), 3U);
  fill_inputs();
  std::vector<std::vector<float>> results;
  for (size_t which = 0; which < found_.size(); ++which) {
    ASSERT_EQ(run(which), CUBLAS_STATUS_SUCCESS);
    results.push_back(output(kDeep));
    ASSERT_EQ(run(which), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(output(kDeep), results.back());
    for (size_t other = 0; other < which; ++other) EXPECT_NE(results[other], results[which]);
  }
}

TEST_F(CublasLt, RoundsInputsUnlessThatIsForbidden) {
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  const size_t all = found_.size();
  prefer(CUBLASLT_MATMUL_PREF_IMPL_MASK, ~uint64_t{CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32});
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(found_.size(), all - 1);
}

TEST_F(CublasLt, PrefersOthersAndLosesOneWhenTold) {
  describe(kDeep);
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  const auto all = found_;
  set_heuristics(0, Heuristics::kPlainFirst);
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(found_.size(), all.size());
  const auto same = [](const auto& a, const auto& b) {
    return std::memcmp(&a.algo, &b.algo, sizeof a.algo) == 0;
  };
  for (size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(same(found_[i], all[all.size() - 1 - i]));
  set_heuristics(0, Heuristics::kWithoutTiles);
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(found_.size(), all.size() - 1);
  int num_refused = 0;
  for (const auto& result : all) {
    cublasLtMatmulHeuristicResult_t checked{};
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(handle_, &operation_, &a_, &b_, &d_, &d_, &result.algo, &checked);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) ++num_refused;
  }
  EXPECT_EQ(num_refused, 1);
  set_heuristics(0, Heuristics::kFastestFirst);
}

TEST_F(CublasLt, WithoutWorkspaceNothingIsSplitThere) {
  describe(kDeep);
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{0});
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  for (const auto& result : found_) EXPECT_EQ(result.workspaceSize, 0U);
}

TEST_F(CublasLt, RefusesDescriptorsThatContradictEachOther) {
  const auto refused = [&] { return ask() == CUBLAS_STATUS_INVALID_VALUE; };
  a_ = layout(CUDA_R_32F, 64, 47, 64);
  EXPECT_TRUE(refused()) << "depths differ";
  describe({});
  d_ = layout(CUDA_R_32F, 64, 32, 63);
  EXPECT_TRUE(refused()) << "columns overlap";
  describe({});
  EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_TRANSA, int32_t{CUBLAS_OP_T}), CUBLAS_STATUS_SUCCESS);
  EXPECT_TRUE(refused()) << "turned, it does not fit";
  describe({});
  std::memset(&b_, 0, sizeof b_);
  EXPECT_TRUE(refused()) << "never set up";
  describe({});
  EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_TRANSA, int64_t{0}), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLt, RefusesTypesWithoutKernels) {
  describe({}, CUDA_R_32F, CUDA_R_16BF);
  EXPECT_EQ(ask(), CUBLAS_STATUS_NOT_SUPPORTED);
  describe({}, CUDA_R_16BF, CUDA_R_32F);
  EXPECT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F),
            CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(CublasLt, EpiloguesWantTheirOperandsAligned) {
  auto* at = static_cast<char*>(memory_->data());
  set_epilogue(CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
  EXPECT_EQ(ask(), CUBLAS_STATUS_INVALID_VALUE) << "neither bias nor aux";
  EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(at)), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<void*>(at)),
            CUBLAS_STATUS_SUCCESS);
  const auto with = [&](int64_t leading_dimension, char* bias, char* aux) {
    EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, leading_dimension), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(bias)),
              CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<void*>(aux)),
              CUBLAS_STATUS_SUCCESS);
    return ask();
  };
  EXPECT_EQ(with(64, at, at), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(with(63, at, at), CUBLAS_STATUS_INVALID_VALUE) << "shorter than a column";
  EXPECT_EQ(with(68, at, at), CUBLAS_STATUS_NOT_SUPPORTED) << "no multiple of 8";
  EXPECT_EQ(with(64, at + 4, at), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(with(64, at, at + 4), CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(CublasLt, RefusesToRunWhatWouldBeAMistake) {
  describe(kDeep);
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  prefer(CUBLASLT_MATMUL_PREF_IMPL_MASK, ~uint64_t{CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32});
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(found_.size(), 3U);  // split, tiled, plain
  EXPECT_EQ(run(0, 100), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_NE(take_reports().find("a workspace of 100 bytes"), std::string::npos);
  EXPECT_EQ(run(1, 0, 4), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_NE(take_reports().find("alignment"), std::string::npos);
  EXPECT_EQ(run(2, 0, 4), CUBLAS_STATUS_SUCCESS);
  std::memset(&found_[2].algo, 0, sizeof found_[2].algo);
  EXPECT_EQ(run(2), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_NE(take_reports().find("no algorithm"), std::string::npos);
}

TEST_F(CublasLt, AnOperandInHostMemoryIsAFaultOfTheDevice) {
  ASSERT_EQ(ask(), CUBLAS_STATUS_SUCCESS);
  const std::vector<float> host(64 * 48);
  ASSERT_EQ(run(found_.size() - 1, 0, 0, host.data()), CUBLAS_STATUS_SUCCESS);
  const Status status = stream_->synchronize(Deadline::after_s(20));
  EXPECT_NE(status.message().find("cudaErrorIllegalAddress"), std::string::npos)
      << status.message();
  EXPECT_NE(take_reports().find("does not lie in memory"), std::string::npos);
}

}  // namespace

}  // namespace leasehold::emulation
