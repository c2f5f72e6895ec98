// For the tests of the control channel: a handler that remembers, raw sockets, waiting for a thing
// to come true.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "launch/supervisor/control_client.h"
#include "launch/supervisor/control_server.h"
#include "launch/supervisor/control_socket.h"

namespace leasehold {

inline constexpr const char* kTestToken = "0123456789abcdef0123456789abcdef";

inline SecretKey key_of(char digit) { return *SecretKey::parse(std::string(64, digit), "key"); }
inline SecretKey agent_key() { return key_of('a'); }
inline SecretKey operator_key() { return key_of('b'); }

inline SocketWait within_s(double seconds) { return {Deadline::after_s(seconds), {}}; }

inline bool eventually(const std::function<bool()>& condition) {
  const Deadline deadline = Deadline::after_s(30);
  while (!condition()) {
    if (deadline.passed()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

class RememberingHandler : public ControlHandler {
 public:
  int64_t generation() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++num_asked_;
    return generation_;
  }
  Answer on_report(const Report& report) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    reports_.push_back(report);
    return answer_;
  }
  std::string state_json() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return state_;
  }
  std::string prometheus_metrics() override { return "leasehold_generation 1\n"; }
  void on_drain(const std::string& reason) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    drains_.push_back(reason);
  }

  void set_generation(int64_t generation) {
    const std::lock_guard<std::mutex> lock(mutex_);
    generation_ = generation;
  }
  void set_answer(const Answer& answer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    answer_ = answer;
  }
  void set_state(const std::string& state) {
    const std::lock_guard<std::mutex> lock(mutex_);
    state_ = state;
  }
  std::vector<Report> reports() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return reports_;
  }
  size_t num_reports() { return reports().size(); }
  std::vector<std::string> drains() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return drains_;
  }
  void forget() {
    const std::lock_guard<std::mutex> lock(mutex_);
    reports_.clear();
    drains_.clear();
  }
  // Well-formed reports of any generation.
  int num_asked() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return num_asked_;
  }

 private:
  std::mutex mutex_;
  int64_t generation_ = 1;
  int num_asked_ = 0;
  Answer answer_;
  std::string state_ = "{\"state\": 1}";
  std::vector<Report> reports_;
  std::vector<std::string> drains_;
};

inline Report test_report(int64_t generation = 1) {
  Report report;
  report.generation = generation;
  report.node = "a";
  report.pid = 1;
  report.phase = "training";
  return report;
}

inline std::unique_ptr<ControlServer> start_server(ControlHandler& handler,
                                                   double read_timeout_s = 30, int cluster_port = 0,
                                                   int operator_port = 0) {
  ControlServerOptions options;
  options.agent_key = agent_key();
  options.operator_key = operator_key();
  options.scraper_token = kTestToken;
  options.read_timeout_s = read_timeout_s;
  options.cluster_port = cluster_port;
  options.operator_port = operator_port;
  return std::move(ControlServer::start(options, handler)).value();
}

inline Socket connect_local(int port) {
  return std::move(connect_to({"127.0.0.1", port}, within_s(30))).value();
}

// All that comes until the peer closes; what came so far when the connection breaks.
inline std::string receive_to_end(const Socket& socket) {
  std::string received;
  std::array<char, 4096> buffer;
  const SocketWait wait = within_s(30);
  for (;;) {
    const Result<size_t> got = receive_some(socket, buffer.data(), buffer.size(), wait);
    if (!got.ok() || *got == 0) return received;
    received.append(buffer.data(), *got);
  }
}

// "" when nothing comes back.
inline std::string say(int port, const std::string& request) {
  const Socket socket = connect_local(port);
  if (!send_all(socket, request, within_s(30)).ok()) return "";
  return receive_to_end(socket);
}

// A request as bytes, with whatever credentials.
inline std::string http_request(const std::string& credentials, const std::string& method,
                                const std::string& path, const std::string& body = "") {
  return fmt::format(
      "{} {} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n{}", method,
      path, credentials, body.size(), body);
}

inline std::string proved_request(const SecretKey& key, const std::string& session,
                                  const std::string& method, const std::string& path,
                                  const std::string& body = "") {
  const RequestProof proof = prove_request(key, {method, path, body}, *make_nonce(), session);
  return http_request(header_of(proof), method, path, body);
}

inline Result<ControlReply> ask(int port, const SecretKey& key, const std::string& method,
                                const std::string& path, const std::string& body = "") {
  ControlClient client(key, 64 << 20);
  return client.ask({"127.0.0.1", port}, {method, path, body}, within_s(30));
}

// The status of a proved answer; 0 when there is none.
inline int status_of(int port, const SecretKey& key, const std::string& method,
                     const std::string& path, const std::string& body = "") {
  const Result<ControlReply> reply = ask(port, key, method, path, body);
  return reply.ok() ? reply->status : 0;
}

inline std::string session_of(int port, const SecretKey& key) {
  const auto reply =
      parse_reply(say(port, proved_request(key, std::string(kNoSession), "GET", "/")));
  return reply.ok() && reply->proof ? reply->proof->session : "";
}

// The status code of a response; 0 when it is none.
inline int status_of(const std::string& response) {
  return response.starts_with("HTTP/1.1 ") ? std::stoi(response.substr(9, 3)) : 0;
}

}  // namespace leasehold
