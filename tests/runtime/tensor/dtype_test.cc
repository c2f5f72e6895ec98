#include "runtime/tensor/dtype.h"

#include <gtest/gtest.h>

namespace leasehold {

TEST(DType, NamesAreReadBack) {
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kBf16, DType::kI32, DType::kU8}) {
    const auto parsed = parse_dtype(dtype_name(dtype));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, dtype);
  }
  EXPECT_STREQ(dtype_name(DType::kBf16), "BF16");
}

TEST(DType, SizesAreInBytes) {
  EXPECT_EQ(size_of(DType::kF32), 4);
  EXPECT_EQ(size_of(DType::kF64), 8);
  EXPECT_EQ(size_of(DType::kBf16), 2);
  EXPECT_EQ(size_of(DType::kI32), 4);
  EXPECT_EQ(size_of(DType::kU8), 1);
}

TEST(DType, UnknownNamesAreBadDataAndNameWhatIsSupported) {
  const auto parsed = parse_dtype("F16");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.status().code(), Code::kBadData);
  EXPECT_NE(parsed.status().message().find("'F16'"), std::string::npos);
  EXPECT_NE(parsed.status().message().find("BF16"), std::string::npos);
}

}  // namespace leasehold
