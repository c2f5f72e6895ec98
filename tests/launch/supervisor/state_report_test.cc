#include "launch/supervisor/state_report.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

NodeNews news_of(const std::string& node, double communication_s, double exposed_s) {
  return {.report = {.generation = 1,
                     .node = node,
                     .pid = 1,
                     .step = 7,
                     .phase = "training",
                     .communication_s = communication_s,
                     .exposed_s = exposed_s},
          .heard_s = 100};
}

class StateReportTest : public testing::Test {
 protected:
  const SupervisorState state_;
  const std::string doing_ = "waits";
  std::map<std::string, NodeNews> nodes_;
  StateReport report() const { return {state_, nodes_, doing_, 101}; }
};

TEST_F(StateReportTest, CommunicationIsShownByNode) {
  nodes_["a"] = news_of("a", 0.0125, 0.00125);
  nodes_["b"] = news_of("b", 0.02, 0);
  const std::string metrics = prometheus_text(report());
  for (const char* line : {"# TYPE leasehold_communication_seconds gauge\n",
                           "leasehold_communication_seconds{node=\"a\"} 0.0125\n",
                           "leasehold_communication_exposed_seconds{node=\"a\"} 0.00125\n",
                           "leasehold_communication_seconds{node=\"b\"} 0.02\n",
                           "leasehold_communication_exposed_seconds{node=\"b\"} 0\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
  }
  EXPECT_EQ(communication_text(state_json(report())),
            "communication of a step on a: 12.5 ms, 1.2 ms of it not hidden behind computation\n"
            "communication of a step on b: 20.0 ms, 0.0 ms of it not hidden behind computation\n");
}

TEST_F(StateReportTest, WithoutCommunicationThereIsNothingToSay) {
  EXPECT_EQ(communication_text(state_json(report())), "");
  nodes_["a"] = news_of("a", 0, 0);
  EXPECT_EQ(communication_text(state_json(report())), "");
  EXPECT_EQ(communication_text("no JSON"), "");
  EXPECT_EQ(communication_text("[]"), "");
}

}  // namespace
}  // namespace leasehold
