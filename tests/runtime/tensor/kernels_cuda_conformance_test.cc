// CUDA kernels, in fp32 and bf16, agree with the reference, write what they should and nothing
// else, and compute the same bits whatever lies in their outputs, however their operands are
// aligned and in whatever order blocks and warps run.
#include <gtest/gtest.h>

#include "runtime/device/cpu_device.h"
#include "runtime/device/cuda.h"
#include "runtime/tensor/kernels_cuda.h"
#include "tests/runtime/tensor/extreme_activations.h"
#include "tests/runtime/tensor/operation_cases.h"
#include "tests/runtime/tensor/schedules.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {

namespace {

struct Family {
  const char* name;
  std::vector<OperationCase> (*cases)();
  // False where an algorithm is chosen by alignment.
  bool ignores_alignment = true;
};
const Family kFamilies[] = {
    {"linear", linear_cases, false},    {"layer_norm", layer_norm_cases},
    {"embedding", embedding_cases},     {"attention", attention_cases},
    {"elementwise", elementwise_cases}, {"cross_entropy", cross_entropy_cases},
    {"optimizer", optimizer_cases},     {"rms_norm", rms_norm_cases},
    {"swiglu", swiglu_cases},           {"rotary", rotary_cases},
};

class CudaKernelsTest : public testing::Test {
 protected:
  void TearDown() override { use_schedule(0); }

  // Makes backend_, or skips the test where there is no GPU.
  void create(DType dtype) {
    use_schedule(0);
    auto device = create_cuda_device(0);
    if (!device.ok() && !always_has_gpu()) GTEST_SKIP() << device.status().message();
    ASSERT_TRUE(device.ok()) << device.status().message();
    backend_.device = std::move(device).value();
    auto kernels = create_cuda_kernels(*backend_.device, dtype);
    ASSERT_TRUE(kernels.ok()) << kernels.status().message();
    backend_.kernels = std::move(kernels).value();
  }

  Backend backend_;
};

class CudaKernelsConformance : public CudaKernelsTest,
                               public testing::WithParamInterface<std::tuple<DType, Family>> {
 protected:
  void SetUp() override { create(std::get<0>(GetParam())); }

  const Family& family() { return std::get<1>(GetParam()); }
};

class CudaKernelsExtremes : public CudaKernelsTest, public testing::WithParamInterface<DType> {
 protected:
  void SetUp() override { create(GetParam()); }
};

TEST_P(CudaKernelsExtremes, ActivationsSaturateAndShowInfinities) {
  expect_sound_extremes(backend_);
}

INSTANTIATE_TEST_SUITE_P(, CudaKernelsExtremes, testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& tested) { return dtype_name(tested.param); });

TEST_P(CudaKernelsConformance, AgreesWithTheReference) {
  Backend reference{CpuDevice::create({}), create_reference_kernels()};
  const DType dtype = backend_.kernels->dtype();
  for (const OperationCase& operation : family().cases()) {
    SCOPED_TRACE(operation.name());
    expect_agreement(run_case(operation, backend_, {.inputs = dtype}),
                     run_reference(operation, reference, {.inputs = dtype}));
  }
}

TEST_P(CudaKernelsConformance, GivesTheSameBitsWhateverLiesInItsOutputsAndInWhateverOrder) {
  for (const OperationCase& operation : family().cases()) {
    SCOPED_TRACE(operation.name());
    use_schedule(0);
    const auto expected = run_case(operation, backend_);
    if (family().ignores_alignment) {
      SCOPED_TRACE("misaligned");
      expect_equal_bits(run_case(operation, backend_, {.misalignment_bytes = 8}), expected);
    }
    for (const uint64_t seed : schedules()) {
      SCOPED_TRACE(seed);
      use_schedule(seed);
      expect_equal_bits(run_case(operation, backend_, {.poison = 1e30}), expected);
    }
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<DType, Family>>& info) {
  return std::string(dtype_name(std::get<0>(info.param))) + "_" + std::get<1>(info.param).name;
}

INSTANTIATE_TEST_SUITE_P(, CudaKernelsConformance,
                         testing::Combine(testing::Values(DType::kF32, DType::kBf16),
                                          testing::ValuesIn(kFamilies)),
                         name_of);

}  // namespace

}  // namespace leasehold
