#include "launch/supervisor/control_port.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <vector>

#include "launch/supervisor/quiet_thread.h"

namespace leasehold {

namespace {

// What a client still sends of a request that was refused unread is read for so long and no
// further: closing at once would reset the connection, and the answer might be lost with it.
constexpr double kLingerS = 0.5;
constexpr size_t kLingerBytes = 256 << 10;
constexpr int kPauseMs = 50;  // after accept() failed, for want of descriptors

class SocketPeer : public HttpPeer {
 public:
  SocketPeer(const Socket& socket, const SocketWait& wait) : socket_(socket), wait_(wait) {}
  Result<size_t> receive(char* buffer, size_t size) override {
    return receive_some(socket_, buffer, size, wait_);
  }
  Status send(std::string_view bytes) override { return send_all(socket_, bytes, wait_); }

 private:
  const Socket& socket_;
  const SocketWait& wait_;
};

class ThreadedPort : public ControlPort {
 public:
  ThreadedPort(const ControlPortOptions& options, const HttpService& service, Socket listening)
      : options_(options), service_(service), listening_(std::move(listening)) {}

  ~ThreadedPort() override {
    stopping_ = true;
    shutdown(listening_.fd(), SHUT_RDWR);  // wakes those that wait for a connection
    for (std::thread& thread : threads_) thread.join();
  }

  Status start_threads() {
    for (int i = 0; i < options_.num_threads; ++i) {
      LEASEHOLD_ASSIGN_OR_RETURN(std::thread thread, start_quiet_thread([this] { run(); }));
      threads_.push_back(std::move(thread));
    }
    return ok_status();
  }

  int port() const override { return bound_port(listening_); }

 private:
  void run() {
    while (!stopping_) {
      ++num_idle_;
      pollfd waited = {listening_.fd(), POLLIN, 0};
      poll(&waited, 1, -1);  // until a connection comes or the destructor shuts the socket down
      const Socket connection(
          stopping_ ? -1
                    : accept4(listening_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      const int failure = errno;
      --num_idle_;
      if (connection.fd() >= 0) {
        serve(connection);
      } else if (failure == EMFILE || failure == ENFILE || failure == ENOBUFS ||
                 failure == ENOMEM) {
        poll(nullptr, 0, kPauseMs);
      }
    }
  }

  void serve(const Socket& connection) {
    const int on = 1;
    setsockopt(connection.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const Deadline grace = Deadline::after_s(options_.grace_s);
    const auto gives_way = [&] { return stopping_ || (grace.passed() && is_crowded()); };
    const SocketWait wait = {Deadline::after_s(options_.connection_s), gives_way};
    SocketPeer peer(connection, wait);
    // A request that was read whole costs a thread no round trip: the system sends what is left.
    if (service_.serve(peer)) return;
    shutdown(connection.fd(), SHUT_WR);
    linger(connection, gives_way);
  }

  void linger(const Socket& connection, const std::function<bool()>& gives_way) const {
    const SocketWait wait = {Deadline::after_s(kLingerS), gives_way};
    std::array<char, 4096> buffer;
    for (size_t read = 0; read < kLingerBytes;) {
      const Result<size_t> got = receive_some(connection, buffer.data(), buffer.size(), wait);
      if (!got.ok() || *got == 0) return;
      read += *got;
    }
  }

  // Every thread is busy and a connection waits.
  bool is_crowded() const {
    pollfd waited = {listening_.fd(), POLLIN, 0};
    return num_idle_ == 0 && poll(&waited, 1, 0) > 0;
  }

  const ControlPortOptions options_;
  const HttpService& service_;
  const Socket listening_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> num_idle_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<ControlPort>> ControlPort::open(const ControlPortOptions& options,
                                                       const HttpService& service) {
  LEASEHOLD_ASSIGN_OR_RETURN(Socket listening, listen_at(options.address));
  auto port = std::make_unique<ThreadedPort>(options, service, std::move(listening));
  LEASEHOLD_RETURN_IF_ERROR(port->start_threads());
  return std::unique_ptr<ControlPort>(std::move(port));
}

}  // namespace leasehold
