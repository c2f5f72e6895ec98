// Every implementation of Kernels agrees with the reference, writes what it should and nothing
// else, and computes the same bits whatever lies in its outputs. The CPU's also whatever the number
// of threads, the mode of the device and the alignment of its operands.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/device/cpu_device.h"
#include "tests/runtime/tensor/extreme_activations.h"
#include "tests/runtime/tensor/operation_cases.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {

namespace {

Backend create_cpu(const CpuDeviceOptions& options, DType dtype) {
  auto device = CpuDevice::create(options);
  auto kernels = create_cpu_kernels(*device, dtype);
  return {std::move(device), std::move(kernels)};
}

Backend create_reference() { return {CpuDevice::create({}), create_reference_kernels()}; }

struct Implementation {
  const char* name;
  Backend (*create)();
};
const Implementation kImplementations[] = {
    {"cpu", [] { return create_cpu({.num_threads = 2}, DType::kF32); }},
    {"cpu_bf16", [] { return create_cpu({.num_threads = 2}, DType::kBf16); }},
};

struct Family {
  const char* name;
  std::vector<OperationCase> (*cases)();
};
const Family kFamilies[] = {
    {"linear", linear_cases},
    {"layer_norm", layer_norm_cases},
    {"embedding", embedding_cases},
    {"attention", attention_cases},
    {"elementwise", elementwise_cases},
    {"cross_entropy", cross_entropy_cases},
    {"optimizer", optimizer_cases},
    {"rms_norm", rms_norm_cases},
    {"swiglu", swiglu_cases},
    {"rotary", rotary_cases},
    {"cached_attention", cached_attention_cases},
};

class KernelsConformance : public testing::TestWithParam<std::tuple<Implementation, Family>> {
 protected:
  Backend create() { return std::get<0>(GetParam()).create(); }
  std::vector<OperationCase> cases() { return std::get<1>(GetParam()).cases(); }
};

TEST_P(KernelsConformance, AgreesWithTheReference) {
  Backend backend = create();
  Backend reference = create_reference();
  const DType dtype = backend.kernels->dtype();
  for (const OperationCase& operation : cases()) {
    SCOPED_TRACE(operation.name());
    expect_agreement(run_case(operation, backend, {.inputs = dtype}),
                     run_reference(operation, reference, {.inputs = dtype}));
  }
}

TEST_P(KernelsConformance, GivesTheSameBitsAgainWhateverLiesInItsOutputs) {
  Backend backend = create();
  for (const OperationCase& operation : cases()) {
    SCOPED_TRACE(operation.name());
    expect_equal_bits(run_case(operation, backend, {.poison = 1e30}), run_case(operation, backend));
  }
}

TEST(CpuKernelsExtremes, ActivationsSaturateAndShowInfinities) {
  for (const Implementation& implementation : kImplementations) {
    SCOPED_TRACE(implementation.name);
    Backend backend = implementation.create();
    expect_sound_extremes(backend);
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<Implementation, Family>>& info) {
  return std::string(std::get<0>(info.param).name) + "_" + std::get<1>(info.param).name;
}

INSTANTIATE_TEST_SUITE_P(, KernelsConformance,
                         testing::Combine(testing::ValuesIn(kImplementations),
                                          testing::ValuesIn(kFamilies)),
                         name_of);

class CpuKernelsBits : public testing::TestWithParam<std::tuple<DType, Family>> {};

TEST_P(CpuKernelsBits, DoNotDependOnThreadsModeOrAlignment) {
  const DType dtype = std::get<0>(GetParam());
  Backend one = create_cpu({.num_threads = 1}, dtype);
  std::vector<Backend> others;
  for (const int num_threads : {2, 3, 4})
    others.push_back(create_cpu({.num_threads = num_threads}, dtype));
  others.push_back(create_cpu({.num_threads = 2, .asynchronous = true, .delay_seed = 11}, dtype));
  for (const OperationCase& operation : std::get<1>(GetParam()).cases()) {
    SCOPED_TRACE(operation.name());
    const auto expected = run_case(operation, one);
    for (Backend& other : others) {
      SCOPED_TRACE(other.device->name());
      expect_equal_bits(run_case(operation, other), expected);
    }
    SCOPED_TRACE("misaligned");
    expect_equal_bits(run_case(operation, one, {.misalignment_bytes = 8}), expected);
  }
}

// Earlier versions had no gaps, and what they trained is continued.
TEST_P(CpuKernelsBits, DoNotDependOnGapsBetweenRows) {
  Backend backend = create_cpu({.num_threads = 2}, std::get<0>(GetParam()));
  int num_cases = 0;
  for (const OperationCase& apart : std::get<1>(GetParam()).cases()) {
    OperationCase dense = apart;
    for (Operand& operand : dense.operands) {
      num_cases += operand.row_gap > 0 ? 1 : 0;
      operand.row_gap = 0;
    }
    SCOPED_TRACE(apart.name());
    expect_equal_bits(run_case(apart, backend), run_case(dense, backend));
  }
  const std::string family = std::get<1>(GetParam()).name;
  EXPECT_EQ(num_cases > 0, family == "linear" || family == "cross_entropy");
}

INSTANTIATE_TEST_SUITE_P(, CpuKernelsBits,
                         testing::Combine(testing::Values(DType::kF32, DType::kBf16),
                                          testing::ValuesIn(kFamilies)),
                         [](const auto& tested) {
                           return std::string(std::get<1>(tested.param).name) + "_" +
                                  dtype_name(std::get<0>(tested.param));
                         });

// The operation under test and, as an output of its own, the cast of what it made.
OperationCase working_copy_case(int64_t count) {
  OperationCase result;
  result.operation = "adamw";
  result.label = fmt::format("{} elements, working", count);
  result.operands = {{"parameter", Role::kInPlace, {count}, Element::kState},
                     {"gradient", Role::kInput, {count}, Element::kState},
                     {"m", Role::kInPlace, {count}, Element::kState},
                     {"v",
                      Role::kInPlace,
                      {count},
                      Element::kState,
                      [](int64_t i) { return 1e-3 * static_cast<double>(1 + i % 97); }},
                     {"working", Role::kOutput, {count}},
                     {"cast", Role::kOutput, {count}}};
  result.call = [](Kernels& kernels, Stream& stream, const Operands& t) {
    const AdamWStep step = {1e-1, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 1.0, 1.0};
    kernels.adamw(stream, step, t["parameter"], t["gradient"], t["m"], t["v"], t["working"]);
    kernels.cast(stream, t["parameter"], t["cast"]);
  };
  return result;
}

class KernelsImplementation : public testing::TestWithParam<Implementation> {};

TEST_P(KernelsImplementation, AdamWRoundsTheNewWeightsIntoTheWorkingCopy) {
  Backend backend = GetParam().create();
  if (backend.kernels->dtype() == backend.kernels->gradient_dtype())
    GTEST_SKIP() << "these kernels have no working copy";
  for (const int64_t count : {1, 7, 4097, 33001}) {
    const OperationCase operation = working_copy_case(count);
    SCOPED_TRACE(operation.name());
    const auto results = run_case(operation, backend);
    ASSERT_EQ(results.size(), 5U);
    EXPECT_EQ(results[3].bytes, results[4].bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(, KernelsImplementation, testing::ValuesIn(kImplementations),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace

}  // namespace leasehold
