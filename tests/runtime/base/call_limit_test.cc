#include "runtime/base/call_limit.h"

#include <chrono>
#include <future>
#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(CallLimit, SaysNothingOfACallThatComesBack) {
  bool overdue = false;
  {
    const CallLimit limit("a quick call", 60, [&](const Status&) { overdue = true; });
  }
  EXPECT_FALSE(overdue);
}

TEST(CallLimit, NamesACallThatDoesNot) {
  std::promise<Status> said;
  const CallLimit limit("MPI_Init of rank 3", 0.01,
                        [&](const Status& status) { said.set_value(status); });
  auto future = said.get_future();
  ASSERT_EQ(future.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const Status status = future.get();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.message(), "MPI_Init of rank 3 has not come back within 0 s");
}

}  // namespace
}  // namespace leasehold
