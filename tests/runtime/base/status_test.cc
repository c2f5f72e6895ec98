#include "runtime/base/status.h"

#include <gtest/gtest.h>
#include <memory>

#include "runtime/base/check.h"

namespace leasehold {
namespace {

TEST(Status, DefaultIsOk) {
  EXPECT_TRUE(Status().ok());
  EXPECT_TRUE(ok_status().ok());
  EXPECT_EQ(ok_status().exit_code(), 0);
}

TEST(Status, CodesAreTheDocumentedExitCodes) {
  const std::pair<Code, int> expected[] = {{Code::kOk, 0},           {Code::kUsage, 64},
                                           {Code::kBadData, 65},     {Code::kMissingInput, 66},
                                           {Code::kUnavailable, 69}, {Code::kInternal, 70},
                                           {Code::kStorage, 74},     {Code::kDrained, 75},
                                           {Code::kBadConfig, 78}};
  for (const auto& [code, number] : expected) {
    EXPECT_EQ(Status(code, "x").exit_code(), number);
    EXPECT_STRNE(code_name(code), "unknown code");
  }
  EXPECT_STREQ(code_name(static_cast<Code>(1)), "unknown code");
}

TEST(Status, ErrorFormatsItsMessage) {
  const Status status = error(Code::kStorage, "{}: {} bytes", "a.bin", 12);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.code(), Code::kStorage);
  EXPECT_EQ(status.message(), "a.bin: 12 bytes");
}

TEST(Status, AnnotatedKeepsTheCodeAndLeavesOkAlone) {
  const Status status = error(Code::kBadData, "torn").annotated("step 3");
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_EQ(status.message(), "step 3: torn");
  EXPECT_TRUE(ok_status().annotated("step 3").ok());
  EXPECT_EQ(ok_status().annotated("step 3").message(), "");
}

TEST(Status, ThrowIfErrorCarriesTheStatus) {
  EXPECT_NO_THROW(throw_if_error(ok_status()));
  try {
    throw_if_error(error(Code::kUnavailable, "rank 3 is gone"));
    FAIL() << "did not throw";
  } catch (const DeviceError& caught) {
    EXPECT_EQ(caught.status().code(), Code::kUnavailable);
    EXPECT_STREQ(caught.what(), "rank 3 is gone");
  }
}

Result<int> half(int value) {
  if (value % 2 != 0) return error(Code::kBadData, "{} is odd", value);
  return value / 2;
}

Status quarter(int value, int* out) {
  LEASEHOLD_ASSIGN_OR_RETURN(const int first, half(value));
  LEASEHOLD_ASSIGN_OR_RETURN(*out, half(first));
  LEASEHOLD_RETURN_IF_ERROR(*out > 100 ? error(Code::kUsage, "too much") : ok_status());
  return ok_status();
}

TEST(Result, HoldsAValueOrAReason) {
  const Result<int> good = half(8);
  ASSERT_TRUE(good.ok());
  EXPECT_TRUE(good.status().ok());
  EXPECT_EQ(*good, 4);
  const Result<int> bad = half(7);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.status().message(), "7 is odd");
}

TEST(Result, ReadingAMissingValueThrowsTheReason) {
  const Result<int> bad = half(7);
  try {
    (void)bad.value();
    FAIL() << "did not throw";
  } catch (const StatusError& caught) {
    EXPECT_EQ(caught.status().code(), Code::kBadData);
  }
}

TEST(Result, OfAnOkStatusIsAnInternalError) {
  const Result<int> result = ok_status();
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::kInternal);
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 5);
}

TEST(Result, MacrosReturnTheFirstError) {
  int out = 0;
  EXPECT_TRUE(quarter(12, &out).ok());
  EXPECT_EQ(out, 3);
  EXPECT_EQ(quarter(7, &out).message(), "7 is odd");
  EXPECT_EQ(quarter(6, &out).message(), "3 is odd");
  EXPECT_EQ(quarter(1000, &out).code(), Code::kUsage);
}

TEST(Check, PassesSilentlyAndFailsWithPlaceConditionAndMessage) {
  const int rows = 0;
  EXPECT_NO_THROW(LEASEHOLD_CHECK(rows == 0, "never formatted"));
  try {
    LEASEHOLD_CHECK(rows > 0, "linear {}: {} rows", "qkv", rows);
    FAIL() << "did not throw";
  } catch (const StatusError& caught) {
    EXPECT_EQ(caught.status().code(), Code::kInternal);
    for (const char* part : {"status_test.cc", "rows > 0", "linear qkv: 0 rows"}) {
      EXPECT_NE(caught.status().message().find(part), std::string::npos)
          << caught.status().message();
    }
  }
}

}  // namespace
}  // namespace leasehold
