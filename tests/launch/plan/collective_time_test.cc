#include "launch/plan/collective_time.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

class CollectiveTime : public testing::Test {
 protected:
  const Hardware h100_ = shipped_hardware("H100").value();
  const Hardware gb200_ = shipped_hardware("GB200").value();
  const StepMethod method_;
};

TEST_F(CollectiveTime, MembersInADomain) {
  EXPECT_EQ(members_in_domain({.size = 8, .stride = 1}, h100_), 8);
  EXPECT_EQ(members_in_domain({.size = 16, .stride = 4}, h100_), 2);
  EXPECT_EQ(members_in_domain({.size = 16, .stride = 8}, h100_), 1);
  EXPECT_EQ(members_in_domain({.size = 16, .stride = 4}, gb200_), 16);
}

TEST_F(CollectiveTime, ARankAloneWaitsForNobody) {
  EXPECT_EQ(ring_s({.size = 1}, 1e9, h100_, method_), 0);
  EXPECT_EQ(send_s({.size = 1}, 1e9, h100_, method_), 0);
}

// H100 x 8: 466 GB/s of bus bandwidth at 1 GiB.
TEST_F(CollectiveTime, LargeBuffersReachTheBusBandwidth) {
  const double bytes = 1 << 30;
  const double seconds = ring_s({.size = 8}, bytes, h100_, method_);
  EXPECT_NEAR(bytes * 7 / 8 / seconds / 466e9, 1, 0.02);
}

TEST_F(CollectiveTime, TheNetworkIsSharedByTheMembersOfADomain) {
  const double bytes = 1e9;
  const double alone = ring_s({.size = 4, .stride = 8}, bytes, h100_, method_);
  const double four = ring_s({.size = 8, .stride = 2}, bytes, h100_, method_);
  EXPECT_NEAR(bytes * 3 / 4 / alone / (50e9 * method_.network_share), 1, 0.02);
  EXPECT_GT(alone, 3 * four);
  EXPECT_GT(four, ring_s({.size = 4, .stride = 2}, bytes, h100_, method_));
}

TEST_F(CollectiveTime, LongRingsHaveLatency) {
  const double short_one = ring_s({.size = 64}, 1, h100_, method_);
  const double long_one = ring_s({.size = 512}, 1, h100_, method_);
  EXPECT_GT(long_one, 5 * short_one);
  EXPECT_LT(long_one, 5e-3);
}

}  // namespace
}  // namespace leasehold
