// That these sizes suffice, the conformance suite of the kernels shows: what they use is no larger.
#include "runtime/tensor/kernels_cuda_sizes.h"

#include <gtest/gtest.h>

#include "runtime/device/planned_device.h"

namespace leasehold {
namespace {

TEST(KernelsCudaSizesTest, AreOfShapesAlone) {
  const auto kernels = create_planned_cuda_kernels(DType::kBf16);
  EXPECT_EQ(kernels->dtype(), DType::kBf16);
  EXPECT_EQ(kernels->gradient_dtype(), DType::kF32);
  // 8 groups of 8 rows; one group; about 128 Ki threads in groups of 96.
  EXPECT_EQ(kernels->rms_norm_backward_workspace_bytes(64, 768), 8 * 768 * 4);
  EXPECT_EQ(kernels->layer_norm_backward_workspace_bytes(64, 768), 2 * 8 * 768 * 4);
  EXPECT_EQ(kernels->layer_norm_backward_workspace_bytes(7, 768), 2 * 768 * 4);
  EXPECT_EQ(kernels->rms_norm_backward_workspace_bytes(1 << 20, 768), 1364 * 768 * 4);
  EXPECT_EQ(kernels->rms_norm_backward_workspace_bytes(0, 768), 0);
  // 9 begins of 8 buckets, padded to 16 bytes, and 8 bytes a token; 512 buckets are the most.
  EXPECT_EQ(kernels->embedding_backward_workspace_bytes(1000, 61, 32), 48 + 8000);
  EXPECT_EQ(kernels->embedding_backward_workspace_bytes(1, 61, 32), 16 + 8);
  EXPECT_EQ(kernels->embedding_backward_workspace_bytes(1 << 20, 61, 32), 2064 + (8 << 20));
  EXPECT_EQ(kernels->attention_workspace_bytes({.B = 2, .T = 100, .G = 3, .R = 4, .D = 64}),
            2 * 12 * 100 * 4);
  EXPECT_EQ(kernels->cross_entropy_workspace_bytes(100, 61), 800);
}

TEST(KernelsCudaSizesTest, PlannedOnesComputeNothing) {
  const auto kernels = create_planned_cuda_kernels(DType::kF32);
  const auto stream = create_planned_device(DeviceKind::kCuda)->create_stream("compute").value();
  float value = 0;
  EXPECT_THROW(kernels->fill(*stream, {&value, DType::kF32, {1}}, 1), StatusError);
  EXPECT_THROW(kernels->arithmetic_class(), StatusError);
}

}  // namespace
}  // namespace leasehold
