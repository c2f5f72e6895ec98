// Tests runs over several hosts. Virtual nodes cannot show these cases, since they share one memory
// and one network.
#include "tests/end_to_end/hosts_fixture.h"

namespace leasehold {
namespace {

class HostsTest : public HostsFixture {
 protected:
  HostsTest() : HostsFixture(800) {}

  // Returns the event of this name in the first generation after `generation` that has one.
  RunEvent first_after(int64_t generation, const std::string& name) const {
    for (const RunEvent& event : run_events(name)) {
      if (event.generation > generation) return event;
    }
    return {};
  }
};

TEST_F(HostsTest, AHostLeavesAndItsMemoryIsCleaned) {
  write_calendar({{host(1)}, {host(2)}});
  launch_on_hosts();
  ASSERT_TRUE(wait_step(20)) << supervisor().errors() << events(run_);
  for (const int number : {1, 2}) {
    EXPECT_NE(memory_of(number).find("-copy-"), std::string::npos) << memory_of(number);
  }
  EXPECT_TRUE(memory_files().empty()) << "the hosts' memory is this machine's";
  write_calendar({{host(1)}});
  expect_like_undisturbed();
  const auto started = run_events("generation_started");
  ASSERT_EQ(started.size(), 2U) << events(run_);
  EXPECT_EQ(started[0].details.at("hosts"), host(1) + ":1 " + host(2) + ":1");
  EXPECT_EQ(started[1].details.at("hosts"), host(1) + ":1");
  EXPECT_EQ(memory_of(1), "");
  EXPECT_EQ(memory_of(2), "");
}

TEST_F(HostsTest, AHostDiesWithItsMemory) {
  write_calendar({{host(1)}, {host(2)}});
  launch_on_hosts();
  ASSERT_TRUE(wait_step(50)) << supervisor().errors() << events(run_);
  ASSERT_EQ(hosts({"kill", host(2)}).exit_code, 0);
  expect_like_undisturbed();
  const RunEvent restored = first_after(1, "restored");
  EXPECT_NE(restored.reason.find("from memory: 2 of 2 parts on node " + host(1) +
                                 " (1 as a partner's copy)"),
            std::string::npos)
      << events(run_);
  EXPECT_EQ(memory_of(1), "");
  EXPECT_EQ(memory_of(2), "");
}

TEST_F(HostsTest, AHostsLinkGoesDownAndComesUp) {
  write_calendar({{host(1)}, {host(2)}});
  launch_on_hosts();
  ASSERT_TRUE(wait_step(30)) << supervisor().errors() << events(run_);
  ASSERT_EQ(hosts({"cut", host(2)}).exit_code, 0);
  ASSERT_TRUE(wait_event("host_unreachable")) << supervisor().errors() << events(run_);
  ASSERT_EQ(hosts({"mend", host(2)}).exit_code, 0);  // the next probe is two seconds away
  expect_like_undisturbed();
  const auto killed = run_events("killing");
  ASSERT_EQ(killed.size(), 1U) << events(run_);
  EXPECT_NE(killed[0].reason.find("no word from " + host(2)), std::string::npos)
      << killed[0].reason;
  EXPECT_EQ(run_events("host_answers").size(), 1U) << events(run_);
  const auto started = run_events("generation_started");
  ASSERT_EQ(started.size(), 3U) << events(run_);
  EXPECT_EQ(started[1].details.at("hosts"), host(1) + ":1");
  EXPECT_EQ(started[2].details.at("hosts"), host(1) + ":1 " + host(2) + ":1");
  // A rank that was cut off ends with its connection to mpirun.
  EXPECT_TRUE(wait_until([this] { return ranks().empty(); }, 10));
  EXPECT_EQ(memory_of(1), "");
  EXPECT_EQ(memory_of(2), "");
}

}  // namespace
}  // namespace leasehold
