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

#include "launch/supervisor/control_server.h"
#include "launch/supervisor/control_socket.h"

namespace leasehold {

inline constexpr const char* kTestToken = "0123456789abcdef0123456789abcdef";

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
                                                   double read_timeout_s = 30,
                                                   int cluster_port = 0) {
  ControlServerOptions options;
  options.token = kTestToken;
  options.read_timeout_s = read_timeout_s;
  options.cluster_port = cluster_port;
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
inline std::string exchange(int port, const std::string& request) {
  const Socket socket = connect_local(port);
  if (!send_all(socket, request, within_s(30)).ok()) return "";
  return receive_to_end(socket);
}

inline std::string http_request(const std::string& method, const std::string& path,
                                const std::string& body = "",
                                const std::string& token = kTestToken) {
  return fmt::format(
      "{} {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{}",
      method, path, token, body.size(), body);
}

// The status code of a response; 0 when it is none.
inline int status_of(const std::string& response) {
  return response.starts_with("HTTP/1.1 ") ? std::stoi(response.substr(9, 3)) : 0;
}

}  // namespace leasehold
