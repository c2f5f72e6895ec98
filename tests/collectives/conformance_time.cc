#include <chrono>
#include <thread>

#include "tests/collectives/conformance_data.h"

namespace leasehold {

// Checks busy time. One rank comes late to a collective. The other ranks' part in it is under way
// for the whole time. Messages do not count, on any rank.
void conformance_busy_time(Communicator& group, ConformanceDevice& on) {
  const auto stream = make_stream(on, "communication");
  const Data<float> data(on, {1});
  const bool is_late = group.rank() + 1 == group.size();
  constexpr double kLateS = 0.1;
  const auto come_late = [&] {
    if (is_late) std::this_thread::sleep_for(std::chrono::duration<double>(kLateS));
  };
  const auto meet = [&] { expect_done(group.all_reduce(data.view(), ReduceOp::kMax, *stream)); };
  (void)group.busy_s();  // counting starts here at the latest
  meet();
  const double before_s = group.busy_s();
  come_late();
  meet();
  const double busy_s = group.busy_s() - before_s;
  if (group.size() == 1) {
    EXPECT_EQ(busy_s, 0);
    return;
  }
  if (is_late) {
    EXPECT_GT(busy_s, 0);
  } else {
    EXPECT_GT(busy_s, 0.3 * kLateS);  // ranks may also leave the first one at different times
  }
  EXPECT_LT(busy_s, kLimitS);

  const double all_s = group.busy_s();
  come_late();
  if (group.rank() == 0) expect_done(group.receive(data.view(), group.size() - 1, *stream));
  if (is_late) expect_done(group.send(data.view(), 0, *stream));
  EXPECT_EQ(group.busy_s(), all_s);
  meet();
}

}  // namespace leasehold
