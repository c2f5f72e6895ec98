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
    options.key = key_;
    options.find = [this] { return found(); };
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

  std::string found() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return found_;
  }
  void move_to(const std::string& address) {
    const std::lock_guard<std::mutex> lock(mutex_);
    found_ = address;
  }

  SecretKey key_ = agent_key();
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
  std::string found_;
  std::vector<std::string> drains_;
  std::vector<std::string> fences_;
};

// Somebody at the supervisor's port: accepts one connection after the other, answers each whole
// request with what `answer` makes of it and closes.
class Stranger {
 public:
  using Answer = std::function<std::string(const std::string& request)>;
  explicit Stranger(Answer answer)
      : answer_(std::move(answer)), listening_(std::move(listen_at({"127.0.0.1", 0})).value()) {
    thread_ = std::thread([this] { run(); });
  }
  explicit Stranger(const std::string& text)
      : Stranger([text](const std::string&) { return text; }) {}
  ~Stranger() {
    shutdown(listening_.fd(), SHUT_RDWR);
    thread_.join();
  }
  int port() const { return bound_port(listening_); }
  // All that he was told.
  std::string heard() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return heard_;
  }

 private:
  // Returns true once `request` has its head and as many bytes after it as the head says.
  static bool is_whole(const std::string& request) {
    const size_t end = request.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::string name = "Content-Length: ";
    const size_t at = request.find(name);
    const size_t body = at < end ? std::stoul(request.substr(at + name.size())) : 0;
    return request.size() >= end + 4 + body;
  }
  // Reads one request. Agents that end in the middle of theirs leave it cut, or empty.
  static std::string hear(const Socket& connection) {
    std::string request;
    char buffer[4096];
    while (!is_whole(request)) {
      const ssize_t got = recv(connection.fd(), buffer, sizeof buffer, 0);
      if (got <= 0) break;
      request.append(buffer, static_cast<size_t>(got));
    }
    return request;
  }
  void run() {
    for (;;) {
      pollfd waited = {listening_.fd(), POLLIN, 0};
      poll(&waited, 1, -1);
      const Socket connection(accept4(listening_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection.fd() < 0) return;
      const std::string request = hear(connection);
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        heard_ += request;
      }
      if (is_whole(request)) (void)send_all(connection, answer_(request), within_s(30));
    }
  }

  const Answer answer_;
  const Socket listening_;
  std::mutex mutex_;
  std::string heard_;
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
    const Stranger supervisor(text);
    num_made_ = 0;
    const auto agent = start_agent(supervisor.port(), /*interval_s=*/0.001);
    EXPECT_TRUE(eventually([&] { return num_made_ >= 3; })) << text.substr(0, 80);
  }
  EXPECT_TRUE(drains().empty());
  EXPECT_TRUE(fences().empty());
}

std::string response(int status, const std::string& body, const std::string& headers = "") {
  return fmt::format("HTTP/1.1 {} X\r\n{}Content-Length: {}\r\n\r\n{}", status, headers,
                     body.size(), body);
}

// A supervisor is gone, and somebody has taken its port.
TEST_F(NodeAgentTest, AStrangerAtThePortOrdersNothingAndLearnsNoKey) {
  const std::string fence = fence_to_json("generation 1 is over", 2);
  const std::string drain = to_json(Answer{true, "go"});
  // An answer that the true supervisor once gave, to whatever report.
  std::string overheard;
  {
    RememberingHandler told_to_drain;
    told_to_drain.set_answer({true, "once upon a time"});
    const auto server = start_server(told_to_drain);
    const std::string session = session_of(server->cluster_port(), agent_key());
    overheard = say(server->cluster_port(), proved_request(agent_key(), session, "POST", "/report",
                                                           to_json(test_report())));
    ASSERT_EQ(status_of(overheard), 200);
  }
  const AnswerProof forged = prove_answer(key_of('9'), {409, fence}, "", std::string(32, '1'));
  const auto proof_of = [](const std::string& request) {
    const std::string name = "Authorization: ";
    const size_t at = request.find(name) + name.size();
    return *parse_request_proof(request.substr(at, request.find("\r\n", at) - at));
  };
  const std::pair<const char*, Stranger::Answer> strangers[] = {
      {"409", [&](const std::string&) { return response(409, fence); }},
      {"drain", [&](const std::string&) { return response(200, drain); }},
      {"garbage", [&](const std::string&) { return response(200, "\x01\xff{"); }},
      {"echo", [&](const std::string& request) { return request; }},
      {"echo as an answer", [&](const std::string& request) { return response(200, request); }},
      {"replay", [&](const std::string&) { return overheard; }},
      {"another key",
       [&](const std::string&) {
         return response(409, fence, fmt::format("Authentication-Info: {}\r\n", header_of(forged)));
       }},
      // The MAC of the request as that of the answer.
      {"the request's own proof",
       [&](const std::string& request) {
         const RequestProof proof = proof_of(request);
         const AnswerProof reflected = {proof.nonce, proof.mac};
         return response(409, fence,
                         fmt::format("Authentication-Info: {}\r\n", header_of(reflected)));
       }},
  };
  for (const auto& [name, answer] : strangers) {
    Stranger stranger(answer);
    num_made_ = 0;
    {
      const auto agent = start_agent(stranger.port(), /*interval_s=*/0.001);
      EXPECT_TRUE(eventually([&] { return num_made_ >= 3; })) << name;
    }
    EXPECT_NE(stranger.heard().find("POST /report"), std::string::npos) << name;
    EXPECT_EQ(stranger.heard().find(agent_key().to_hex()), std::string::npos) << name;
    EXPECT_TRUE(drains().empty()) << name;
    EXPECT_TRUE(fences().empty()) << name;
  }
}

// A stranger passes on what he hears, and keeps it.
TEST_F(NodeAgentTest, ReportsThatAreSentAgainChangeNothing) {
  const auto server = start_server(handler_);
  std::vector<std::string> overheard;
  std::mutex mutex;
  Stranger wire([&](const std::string& request) -> std::string {
    const std::lock_guard<std::mutex> lock(mutex);
    overheard.push_back(request);
    return say(server->cluster_port(), request);
  });
  {
    const auto agent = start_agent(wire.port());
    EXPECT_TRUE(eventually([&] { return handler_.num_reports() >= 3; }));
  }
  ASSERT_GE(handler_.num_reports(), 1u);  // he is a good wire
  const std::lock_guard<std::mutex> lock(mutex);
  const size_t before = handler_.num_reports();
  int64_t newest = 0;
  for (const Report& report : handler_.reports()) {
    EXPECT_GT(report.number, newest);
    newest = report.number;
  }
  for (const std::string& request : overheard) say(server->cluster_port(), request);
  // They reach the board, which notes none that is not newer.
  for (size_t i = before; i < handler_.num_reports(); ++i) {
    EXPECT_LE(handler_.reports()[i].number, newest);
  }
}

TEST_F(NodeAgentTest, FindsASupervisorThatHasMoved) {
  auto first = start_server(handler_);
  const auto agent = start_agent(first->cluster_port());
  EXPECT_TRUE(eventually([&] { return handler_.num_reports() >= 1; }));
  // Somebody else has the old port now, and what is found first is nonsense.
  Stranger stranger(response(409, fence_to_json("x", 9)));
  move_to(fmt::format("127.0.0.1:{}", stranger.port()));
  RememberingHandler next;
  const auto second = start_server(next);
  first.reset();
  EXPECT_TRUE(eventually([&] { return !stranger.heard().empty(); }));
  move_to("nowhere at all");
  num_made_ = 0;
  EXPECT_TRUE(eventually([&] { return num_made_ >= 2; }));
  move_to(fmt::format("127.0.0.1:{}", second->cluster_port()));
  EXPECT_TRUE(eventually([&] { return next.num_reports() >= 2; }));
  EXPECT_TRUE(fences().empty());
}

TEST_F(NodeAgentTest, ASupervisorThatDoesNotKnowTheGenerationYetFencesNobody) {
  const auto server = start_server(handler_);
  for (const int64_t present : {0, 1}) {
    handler_.set_generation(present);
    num_made_ = 0;
    const auto agent = start_agent(server->cluster_port());
    EXPECT_TRUE(eventually([&] { return num_made_ >= 3; }));
  }
  EXPECT_TRUE(fences().empty());
}

TEST_F(NodeAgentTest, AnotherKeyIsNoOrderToLeave) {
  const auto server = start_server(handler_);
  key_ = key_of('9');
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
