#include "runtime/tensor/tensor.h"

#include <gtest/gtest.h>
#include <type_traits>
#include <vector>

namespace leasehold {

static_assert(std::is_trivially_copyable_v<Tensor>, "tensors travel in kernel arguments");

TEST(Tensor, EmptyMeansAbsent) {
  const Tensor absent;
  EXPECT_FALSE(absent.present());
  EXPECT_EQ(absent.num_elements(), 0);
  EXPECT_EQ(absent.size_bytes(), 0);
  const Tensor without_memory(nullptr, DType::kF32, {2, 3});
  EXPECT_TRUE(without_memory.present());
  EXPECT_EQ(without_memory.size_bytes(), 24);
}

TEST(Tensor, ChecksTheElementTypeItIsReadAs) {
  std::vector<float> memory(6);
  const Tensor tensor(memory.data(), DType::kF32, {2, 3});
  EXPECT_EQ(tensor.as<float>(), memory.data());
  EXPECT_THROW(tensor.as<double>(), StatusError);
  EXPECT_THROW(tensor.as<int32_t>(), StatusError);
}

TEST(Tensor, ViewsShareMemory) {
  std::vector<double> memory(24);
  const Tensor tensor(memory.data(), DType::kF64, {4, 3, 2});
  const Tensor reshaped = tensor.reshape({12, 2});
  EXPECT_EQ(reshaped.data(), memory.data());
  EXPECT_EQ(reshaped.shape(), Shape({12, 2}));
  const Tensor flat = tensor.flat(5, 7);
  EXPECT_EQ(flat.data(), memory.data() + 5);
  EXPECT_EQ(flat.shape(), Shape({7}));
  const Tensor rows = tensor.rows(1, 2);
  EXPECT_EQ(rows.data(), memory.data() + 6);
  EXPECT_EQ(rows.shape(), Shape({2, 3, 2}));
  EXPECT_EQ(tensor.rows(4, 0).num_elements(), 0);
}

TEST(Tensor, ColumnsLeaveGapsBetweenRows) {
  std::vector<float> memory(24);
  const Tensor whole(memory.data(), DType::kF32, {4, 6});
  EXPECT_EQ(whole.row_stride(), 6);
  const Tensor columns = whole.columns(5);
  EXPECT_EQ(columns.shape(), Shape({4, 5}));
  EXPECT_EQ(columns.row_stride(), 6);
  EXPECT_FALSE(columns.is_dense());
  const Tensor rows = columns.rows(2, 2);
  EXPECT_EQ(rows.data(), memory.data() + 12);
  EXPECT_EQ(rows.row_stride(), 6);
  EXPECT_TRUE(whole.columns(6).is_dense());
  EXPECT_THROW(columns.flat(0, 1), StatusError);
  EXPECT_THROW(columns.reshape({20}), StatusError);
  EXPECT_THROW(columns.columns(4), StatusError);
  EXPECT_THROW(whole.columns(7), StatusError);
}

TEST(Tensor, ViewsWithoutMemoryStayWithout) {
  const Tensor tensor(nullptr, DType::kF32, {4, 3});
  EXPECT_EQ(tensor.rows(2, 1).data(), nullptr);
  EXPECT_EQ(tensor.flat(5, 2).data(), nullptr);
}

TEST(Tensor, RefusesViewsBeyondItsElements) {
  std::vector<float> memory(12);
  const Tensor tensor(memory.data(), DType::kF32, {4, 3});
  EXPECT_THROW(tensor.reshape({5, 3}), StatusError);
  EXPECT_THROW(tensor.flat(6, 7), StatusError);
  EXPECT_THROW(tensor.flat(-1, 2), StatusError);
  EXPECT_THROW(tensor.rows(3, 2), StatusError);
  EXPECT_THROW(Tensor().reshape({1}), StatusError);
}

}  // namespace leasehold
