#include "launch/supervisor/node_agent.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/launch/supervisor/control_support.h"

namespace leasehold {
namespace {

// An agent's options and events, remembered.
class NodeAgentTest : public ::testing::Test {
 protected:
  std::unique_ptr<NodeAgent> start_agent(int port, double interval_s = 0.01,
                                         double request_timeout_s = 30) {
    NodeAgentOptions options;
    options.supervisor = fmt::format("127.0.0.1:{}", port);
    options.token = token_;
    options.interval_s = interval_s;
    options.request_timeout_s = request_timeout_s;
    NodeAgentEvents events;
    events.report = [this] {
      Report report = test_report();
      report.step = step_;
      ++num_made_;
      return report;
    };
    events.drain = [this](const std::string& reason) { remember(drains_, reason); };
    events.fenced = [this](const std::string& reason) { remember(fences_, reason); };
    return std::move(NodeAgent::start(std::move(options), std::move(events))).value();
  }

  std::vector<std::string> drains() { return copy_of(drains_); }
  std::vector<std::string> fences() { return copy_of(fences_); }

  std::string token_ = kTestToken;
  std::atomic<int64_t> step_ = 0;
  std::atomic<int> num_made_ = 0;
  RememberingHandler handler_;

 private:
  void remember(std::vector<std::string>& list, const std::string& text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    list.push_back(text);
  }
  std::vector<std::string> copy_of(const std::vector<std::string>& list) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return list;
  }

  std::mutex mutex_;
  std::vector<std::string> drains_;
  std::vector<std::string> fences_;
};

// Accepts one connection after the other, says `text` to each and closes.
class CannedSupervisor {
 public:
  explicit CannedSupervisor(std::string text)
      : text_(std::move(text)), listening_(std::move(listen_at({"127.0.0.1", 0})).value()) {
    thread_ = std::thread([this] { run(); });
  }
  ~CannedSupervisor() {
    shutdown(listening_.fd(), SHUT_RDWR);
    thread_.join();
  }
  int port() const { return bound_port(listening_); }

 private:
  void run() {
    for (;;) {
      pollfd waited = {listening_.fd(), POLLIN, 0};
      poll(&waited, 1, -1);
      const Socket connection(accept4(listening_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection.fd() < 0) return;
      char buffer[4096];
      (void)recv(connection.fd(), buffer, sizeof buffer, 0);
      (void)send_all(connection, text_, within_s(30));
    }
  }

  const std::string text_;
  const Socket listening_;
  std::thread thread_;
};

TEST_F(NodeAgentTest, ReportsAtOnceSoonAndLast) {
  const auto server = start_server(handler_);
  auto agent = start_agent(server->cluster_port(), /*interval_s=*/600);
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() == 1; }));
  step_ = 7;
  agent->report_soon();
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() == 2; }));
  EXPECT_EQ(handler_.reports().back().step, 7);
  step_ = 8;
  agent.reset();
  EXPECT_EQ(handler_.num_reports(), 3u);
  EXPECT_EQ(handler_.reports().back().step, 8);
}

TEST_F(NodeAgentTest, ReportsEveryInterval) {
  const auto server = start_server(handler_);
  const auto agent = start_agent(server->cluster_port());
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() >= 4; }));
  EXPECT_TRUE(drains().empty());
  EXPECT_TRUE(fences().empty());
}

TEST_F(NodeAgentTest, ManyWishesBecomeFewReports) {
  const auto server = start_server(handler_);
  const double begin_s = system_clock().steady_s();
  {
    const auto agent = start_agent(server->cluster_port(), /*interval_s=*/600);
    for (int i = 0; i < 200; ++i) {
      agent->report_soon();
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }
  // At most one in 50 ms, and the first and the last.
  const double took_s = system_clock().steady_s() - begin_s;
  EXPECT_LE(static_cast<double>(handler_.num_reports()), took_s / 0.05 + 2);
  EXPECT_GE(handler_.num_reports(), 2u);
}

TEST_F(NodeAgentTest, DrainsOnce) {
  const auto server = start_server(handler_);
  const auto agent = start_agent(server->cluster_port());
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() >= 1; }));
  EXPECT_TRUE(drains().empty());
  handler_.set_answer({true, "the lease of a ends"});
  EXPECT_TRUE(eventually([&] { return !drains().empty(); }));
  const size_t num_reports = handler_.num_reports();
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() >= num_reports + 3; }));
  EXPECT_EQ(drains(), std::vector<std::string>{"the lease of a ends"});
}

TEST_F(NodeAgentTest, HeedsTheAnswerToItsLastReport) {
  const auto server = start_server(handler_);
  auto agent = start_agent(server->cluster_port(), /*interval_s=*/600);
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() == 1; }));
  handler_.set_answer({true, "all leave"});
  agent.reset();
  EXPECT_EQ(drains(), std::vector<std::string>{"all leave"});
}

TEST_F(NodeAgentTest, IsFencedOnceAndFallsSilent) {
  const auto server = start_server(handler_);
  auto agent = start_agent(server->cluster_port());
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() >= 1; }));
  handler_.set_generation(2);
  EXPECT_TRUE(eventually([&] { return !fences().empty(); }));
  const int num_asked = handler_.num_asked();
  agent->report_soon();
  agent.reset();
  EXPECT_EQ(handler_.num_asked(), num_asked);
  ASSERT_EQ(fences().size(), 1u);
  EXPECT_NE(fences()[0].find("generation 1 is not the present one, which is 2"), std::string::npos)
      << fences()[0];
  EXPECT_TRUE(drains().empty());
}

TEST_F(NodeAgentTest, KeepsTryingUntilThereIsASupervisor) {
  int port = 0;
  { port = start_server(handler_)->cluster_port(); }
  const auto agent = start_agent(port);
  EXPECT_TRUE(eventually([&] { return num_made_ >= 3; }));
  const auto server = start_server(handler_, 30, port);
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() >= 1; }));
  EXPECT_TRUE(drains().empty());
  EXPECT_TRUE(fences().empty());
}

TEST_F(NodeAgentTest, NonsenseStopsNothing) {
  const std::string endless = "HTTP/1.1 200 OK\r\n" + std::string(1 << 20, 'x');
  for (const std::string& text :
       {std::string(), std::string("SSH-2.0-OpenSSH_9.2\r\n"), std::string("\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        std::string("HTTP/1.1 409 Conflict\r\nContent-Length: 5\r\n\r\ncut"),
        std::string("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), endless}) {
    const CannedSupervisor supervisor(text);
    num_made_ = 0;
    const auto agent = start_agent(supervisor.port(), /*interval_s=*/0.001);
    EXPECT_TRUE(eventually([&] { return num_made_ >= 3; })) << text.substr(0, 80);
  }
  EXPECT_TRUE(drains().empty());
  EXPECT_TRUE(fences().empty());
}

TEST_F(NodeAgentTest, AWrongTokenIsNoOrderToLeave) {
  const auto server = start_server(handler_);
  token_ = "wrong";
  const auto agent = start_agent(server->cluster_port());
  EXPECT_TRUE(eventually([&] { return num_made_ >= 3; }));
  EXPECT_TRUE(fences().empty());
  EXPECT_EQ(handler_.num_reports(), 0u);
}

TEST_F(NodeAgentTest, ASilentSupervisorDelaysTheEndByItsTimeoutOnly) {
  const Result<Socket> silent = listen_at({"127.0.0.1", 0});
  ASSERT_TRUE(silent.ok());
  {
    const auto agent = start_agent(bound_port(*silent), 0.01, /*request_timeout_s=*/0.1);
    EXPECT_TRUE(eventually([&] { return num_made_ >= 2; }));  // the first was given up
  }
  // A report under way is given up for the last one: the end takes one timeout, not two.
  num_made_ = 0;
  auto agent = start_agent(bound_port(*silent), 600, /*request_timeout_s=*/0.8);
  EXPECT_TRUE(eventually([&] { return num_made_ == 1; }));
  const double begin_s = system_clock().steady_s();
  agent.reset();
  const double took_s = system_clock().steady_s() - begin_s;
  EXPECT_EQ(num_made_, 2);
  EXPECT_GE(took_s, 0.7);
  EXPECT_LT(took_s, 1.5);
}

TEST_F(NodeAgentTest, RefusesMalformedAddresses) {
  for (const char* address : {"", "head", "head:7000", "127.0.0.1", "127.0.0.1:0"}) {
    NodeAgentOptions options;
    options.supervisor = address;
    const auto agent = NodeAgent::start(options, {});
    ASSERT_FALSE(agent.ok()) << address;
    EXPECT_EQ(agent.status().code(), Code::kUsage);
    EXPECT_NE(agent.status().message().find("LEASEHOLD_SUPERVISOR"), std::string::npos);
  }
}

}  // namespace
}  // namespace leasehold
