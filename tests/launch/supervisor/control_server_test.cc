#include "launch/supervisor/control_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launch/supervisor/control_client.h"
#include "tests/launch/supervisor/control_support.h"

namespace leasehold {
namespace {

// Looks like a proof: the body is read to see whether it is one.
const std::string kReportHead = fmt::format(
    "POST /report HTTP/1.1\r\nAuthorization: {}\r\n",
    header_of(RequestProof{std::string(32, '0'), std::string(kNoSession), std::string(64, '0')}));

int report_status(const ControlServer& server) {
  return status_of(server.cluster_port(), agent_key(), "POST", "/report", to_json(test_report()));
}

// A request that needs no session, and whose answer may be large.
const std::string kScrape = http_request(std::string("Bearer ") + kTestToken, "GET", "/metrics");
std::string state_request(const ControlServer& server) {
  const int port = server.operator_port();
  return proved_request(operator_key(), session_of(port, operator_key()), "GET", "/state");
}

TEST(ControlServer, ReportsReachTheHandlerAndAreAnswered) {
  RememberingHandler handler;
  handler.set_answer({true, "the lease of a ends"});
  const auto server = start_server(handler);
  const Result<ControlReply> reply =
      ask(server->cluster_port(), agent_key(), "POST", "/report", to_json(test_report()));
  ASSERT_TRUE(reply.ok()) << reply.status().message();
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(*parse_answer(reply->body), (Answer{true, "the lease of a ends"}));
  EXPECT_EQ(handler.reports(), std::vector<Report>{test_report()});
}

TEST(ControlServer, OlderGenerationsAreFenced) {
  RememberingHandler handler;
  handler.set_generation(5);
  const auto server = start_server(handler);
  for (const int64_t generation : {0, 4}) {
    const Result<ControlReply> reply = ask(server->cluster_port(), agent_key(), "POST", "/report",
                                           to_json(test_report(generation)));
    ASSERT_TRUE(reply.ok());
    EXPECT_EQ(reply->status, 409);
    EXPECT_EQ(parse_fence(reply->body), 5);
    EXPECT_NE(parse_error(reply->body, "").find("which is 5"), std::string::npos) << reply->body;
  }
  EXPECT_EQ(handler.num_reports(), 0u);
}

TEST(ControlServer, GenerationsThatItDoesNotKnowAreNotFenced) {
  RememberingHandler handler;
  const auto server = start_server(handler);
  for (const int64_t present : {0, 5}) {
    handler.set_generation(present);
    EXPECT_EQ(
        status_of(server->cluster_port(), agent_key(), "POST", "/report", to_json(test_report(6))),
        503);
  }
  EXPECT_EQ(handler.num_reports(), 0u);
}

TEST(ControlServer, WhatWasOverheardSaysNothingToTheNextServer) {
  RememberingHandler handler;
  auto server = start_server(handler);
  const int port = server->operator_port();
  const std::string drain =
      proved_request(operator_key(), session_of(port, operator_key()), "POST", "/drain");
  EXPECT_EQ(status_of(say(port, drain)), 200);
  server.reset();
  handler.forget();
  server = start_server(handler, 30, 0, port);
  EXPECT_EQ(status_of(say(port, drain)), 401);
  EXPECT_EQ(status_of(say(
                port, proved_request(operator_key(), std::string(kNoSession), "POST", "/drain"))),
            401);
  EXPECT_TRUE(handler.drains().empty());
}

TEST(ControlServer, EachKeyOpensItsOwnPort) {
  RememberingHandler handler;
  const auto server = start_server(handler);
  EXPECT_EQ(status_of(server->operator_port(), agent_key(), "POST", "/drain"), 0);
  EXPECT_EQ(status_of(server->operator_port(), agent_key(), "GET", "/state"), 0);
  EXPECT_EQ(
      status_of(server->cluster_port(), operator_key(), "POST", "/report", to_json(test_report())),
      0);
  EXPECT_EQ(handler.num_reports(), 0u);
  EXPECT_TRUE(handler.drains().empty());
}

TEST(ControlServer, TheScrapersTokenOpensTheMetricsAlone) {
  RememberingHandler handler;
  const auto server = start_server(handler);
  const std::string bearer = std::string("Bearer ") + kTestToken;
  const auto status = [&](int port, const std::string& method, const std::string& path) {
    return status_of(say(port, http_request(bearer, method, path)));
  };
  EXPECT_EQ(status(server->operator_port(), "GET", "/metrics"), 200);
  EXPECT_EQ(status(server->operator_port(), "GET", "/state"), 401);
  EXPECT_EQ(status(server->operator_port(), "POST", "/drain"), 401);
  EXPECT_EQ(status(server->cluster_port(), "POST", "/report"), 401);
  EXPECT_EQ(status_of(say(server->cluster_port(), http_request("Bearer ", "GET", "/metrics"))),
            401);
  EXPECT_TRUE(handler.drains().empty());
}

TEST(ControlServer, WhatIsRefusedDoesNotReachTheHandler) {
  RememberingHandler handler;
  const auto server = start_server(handler);
  const std::string good = to_json(test_report());
  const int cluster = server->cluster_port();
  const int operators = server->operator_port();
  EXPECT_EQ(status_of(say(operators, "GET /state HTTP/1.1\r\n\r\n")), 401);
  EXPECT_EQ(status_of(say(cluster, "nonsense\r\n\r\n")), 400);
  const auto report = [&](const std::string& method, const std::string& path,
                          const std::string& body) {
    return status_of(cluster, agent_key(), method, path, body);
  };
  const auto operate = [&](const std::string& method, const std::string& path,
                           const std::string& body = "") {
    return status_of(operators, operator_key(), method, path, body);
  };
  EXPECT_EQ(report("POST", "/report", good.substr(1)), 400);
  EXPECT_EQ(report("POST", "/report", ""), 400);
  EXPECT_EQ(operate("POST", "/drain", "{\"reason\": 1}"), 400);
  EXPECT_EQ(report("GET", "/report", ""), 405);
  EXPECT_EQ(operate("POST", "/state"), 405);
  EXPECT_EQ(operate("GET", "/drain"), 405);
  // Each port serves its own.
  EXPECT_EQ(report("GET", "/state", ""), 404);
  EXPECT_EQ(report("GET", "/metrics", ""), 404);
  EXPECT_EQ(report("POST", "/drain", ""), 404);
  EXPECT_EQ(operate("POST", "/report", good), 404);
  EXPECT_EQ(handler.num_reports(), 0u);
  EXPECT_TRUE(handler.drains().empty());
}

TEST(ControlServer, OperatorsSeeAndDrain) {
  RememberingHandler handler;
  const auto server = start_server(handler);
  const Operator someone = {server->operator_port(), operator_key()};
  EXPECT_EQ(*ask_state(someone), "{\"state\": 1}");
  EXPECT_TRUE(ask_drain(someone, "new \"code\"").ok());
  EXPECT_EQ(status_of(server->operator_port(), operator_key(), "POST", "/drain"), 200);
  EXPECT_EQ(handler.drains(),
            (std::vector<std::string>{"new \"code\"", "an operator asked for it"}));

  const std::string metrics = say(server->operator_port(), kScrape);
  EXPECT_EQ(status_of(metrics), 200);
  EXPECT_NE(metrics.find("\r\nContent-Type: text/plain; version=0.0.4\r\n"), std::string::npos);
  EXPECT_TRUE(metrics.ends_with("\r\n\r\nleasehold_generation 1\n"));

  const Result<std::string> stranger = ask_state({server->operator_port(), agent_key()});
  ASSERT_FALSE(stranger.ok());
  EXPECT_EQ(stranger.status().code(), Code::kUnavailable);
  EXPECT_NE(stranger.status().message().find("does not prove"), std::string::npos);
}

TEST(ControlServer, NobodyThereIsToldAsSuch) {
  RememberingHandler handler;
  int port = 0;
  { port = start_server(handler)->operator_port(); }
  const Status drained = ask_drain({port, operator_key()}, "x");
  EXPECT_EQ(drained.code(), Code::kUnavailable);
  EXPECT_NE(drained.message().find(fmt::format("127.0.0.1:{}", port)), std::string::npos);
}

TEST(ControlServer, OperatorsAreOnLoopbackOnly) {
  RememberingHandler handler;
  ControlServerOptions options;
  options.cluster_address = "127.0.0.2";
  const auto server = ControlServer::start(options, handler);
  ASSERT_TRUE(server.ok());
  EXPECT_TRUE(connect_to({"127.0.0.2", (*server)->cluster_port()}, within_s(30)).ok());
  EXPECT_TRUE(connect_to({"127.0.0.1", (*server)->operator_port()}, within_s(30)).ok());
  EXPECT_FALSE(connect_to({"127.0.0.2", (*server)->operator_port()}, within_s(30)).ok());
}

TEST(ControlServer, BadOptionsAreRefused) {
  RememberingHandler handler;
  const auto first = start_server(handler);
  ControlServerOptions options;
  options.cluster_port = first->cluster_port();
  const Status taken = ControlServer::start(options, handler).status();
  EXPECT_EQ(taken.code(), Code::kUnavailable);
  EXPECT_NE(taken.message().find(fmt::format("127.0.0.1:{}", options.cluster_port)),
            std::string::npos);
  options.cluster_port = 0;
  options.operator_port = first->operator_port();
  EXPECT_EQ(ControlServer::start(options, handler).status().code(), Code::kUnavailable);
  options.operator_port = 0;
  options.cluster_address = "head-node";
  EXPECT_EQ(ControlServer::start(options, handler).status().code(), Code::kUsage);
}

TEST(ControlServer, HugeRequestsAreRefusedWhileTheyAreSent) {
  RememberingHandler handler;
  const auto server = start_server(handler);
  const std::string head = kReportHead + "Content-Length: 1073741824\r\n\r\n";
  EXPECT_EQ(status_of(say(server->cluster_port(), head)), 413);
  // The answer arrives although more was sent than is read.
  EXPECT_EQ(status_of(say(server->cluster_port(), head + std::string(100000, 'x'))), 413);
  EXPECT_EQ(status_of(say(server->cluster_port(), std::string(100000, 'x'))), 431);
}

TEST(ControlServer, SlowClientsAreCutOff) {
  RememberingHandler handler;
  const auto server = start_server(handler, /*read_timeout_s=*/0.2);
  const Deadline patience = Deadline::after_s(20);
  const Socket silent = connect_local(server->cluster_port());
  const Socket bodiless = connect_local(server->cluster_port());
  ASSERT_TRUE(send_all(bodiless, kReportHead + "Content-Length: 10\r\n\r\n123", within_s(30)).ok());
  const Socket dribbling = connect_local(server->cluster_port());
  // A byte now and then does not buy time: in the end the connection is gone.
  EXPECT_TRUE(eventually([&] { return !send_all(dribbling, "G", within_s(30)).ok(); }));
  EXPECT_EQ(status_of(receive_to_end(bodiless)), 408);
  EXPECT_EQ(status_of(receive_to_end(silent)), 408);
  EXPECT_FALSE(patience.passed());
  EXPECT_EQ(handler.num_reports(), 0u);
}

TEST(ControlServer, ManySlowClientsDoNotKeepOthersOut) {
  RememberingHandler handler;
  const auto server = start_server(handler, /*read_timeout_s=*/600);
  std::vector<Socket> slow;
  for (int i = 0; i < 40; ++i) {
    slow.push_back(connect_local(server->cluster_port()));
    if (i % 2 == 0) {
      ASSERT_TRUE(
          send_all(slow.back(), kReportHead + "Content-Length: 9\r\n\r\n", within_s(30)).ok());
    }
  }
  const Deadline patience = Deadline::after_s(20);
  EXPECT_EQ(report_status(*server), 200);
  EXPECT_EQ(report_status(*server), 200);
  EXPECT_FALSE(patience.passed());
}

TEST(ControlServer, ClientsThatDoNotReadDoNotKeepOthersOut) {
  RememberingHandler handler;
  handler.set_state(std::string(16 << 20, ' '));
  const auto server = start_server(handler, /*read_timeout_s=*/600);
  std::vector<Socket> deaf;
  for (int i = 0; i < 6; ++i) {
    deaf.push_back(connect_local(server->operator_port()));
    ASSERT_TRUE(send_all(deaf.back(), state_request(*server), within_s(30)).ok());
  }
  const Deadline patience = Deadline::after_s(20);
  EXPECT_EQ(status_of(say(server->operator_port(), kScrape)), 200);
  EXPECT_FALSE(patience.passed());
  // And a state of that size does arrive where it is read.
  deaf.clear();
  EXPECT_EQ(ask_state({server->operator_port(), operator_key(), 30})->size(), size_t{16} << 20);
}

TEST(ControlServer, ClientsThatVanishAreHarmless) {
  RememberingHandler handler;
  handler.set_state(std::string(1 << 20, ' '));
  const auto server = start_server(handler);
  for (int i = 0; i < 20; ++i) {
    const Socket socket = connect_local(server->operator_port());
    ASSERT_TRUE(send_all(socket, state_request(*server), within_s(30)).ok());
    const linger reset = {1, 0};
    setsockopt(socket.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  EXPECT_EQ(status_of(say(server->operator_port(), kScrape)), 200);
}

TEST(ControlServer, SurvivesWantOfDescriptors) {
  RememberingHandler handler;
  const auto server = start_server(handler);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<Socket> fillers;  // owners of any descriptor
  for (int fd = 0; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) fillers.emplace_back(fd);
  ASSERT_FALSE(fillers.empty());
  fillers.pop_back();
  {
    const Socket waiting = connect_local(server->cluster_port());  // takes the last one
    ASSERT_TRUE(send_all(waiting, http_request("Bearer x", "POST", "/report"), within_s(30)).ok());
    char byte = 0;
    EXPECT_FALSE(receive_some(waiting, &byte, 1, within_s(0.15)).ok());
    fillers.clear();
    EXPECT_EQ(status_of(receive_to_end(waiting)), 401);
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(ControlServer, StopsWhateverIsOpen) {
  RememberingHandler handler;
  handler.set_state(std::string(16 << 20, ' '));
  auto server = start_server(handler, /*read_timeout_s=*/600);
  std::vector<Socket> open;
  for (int i = 0; i < 20; ++i) open.push_back(connect_local(server->cluster_port()));
  ASSERT_TRUE(send_all(open[0], kReportHead, within_s(30)).ok());
  ASSERT_TRUE(send_all(open[1], kReportHead + "Content-Length: 9\r\n\r\n", within_s(30)).ok());
  open.push_back(connect_local(server->operator_port()));
  ASSERT_TRUE(send_all(open.back(), state_request(*server), within_s(30)).ok());
  // Some of them are being served by now.
  EXPECT_EQ(status_of(say(server->operator_port(), kScrape)), 200);
  const int port = server->cluster_port();
  const Deadline patience = Deadline::after_s(10);
  server.reset();
  EXPECT_FALSE(patience.passed());
  EXPECT_FALSE(connect_to({"127.0.0.1", port}, within_s(30)).ok());
  // Its successor has the same port at once.
  server = start_server(handler, 30, port);
  EXPECT_EQ(report_status(*server), 200);
}

TEST(ControlServer, ServesManyAtOnce) {
  RememberingHandler handler;
  const auto server = start_server(handler);
  std::vector<std::thread> threads;
  std::atomic<int> num_good = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 25; ++k) num_good += report_status(*server) == 200 ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_good, 200);
  EXPECT_EQ(handler.num_reports(), 200u);
}

}  // namespace
}  // namespace leasehold
