// TCP sockets of the control channel. Every wait has a deadline and can be given up; no descriptor
// is inherited by a program that this process starts; no peer causes SIGPIPE.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/base/clock.h"
#include "runtime/base/status.h"

namespace leasehold {

struct SocketAddress {
  std::string host;  // numeric, IPv4 or IPv6: names would be looked up without a deadline
  int port = 0;
};

// "10.0.0.1:7000", "[fd00::1]:7000"; kUsage for anything else.
Result<SocketAddress> parse_socket_address(const std::string& text);
std::string format_socket_address(const SocketAddress& address);

struct SocketWait {
  Deadline deadline;
  std::function<bool()> give_up;  // asked at least every 50 ms; empty: never
};

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket();
  int fd() const { return fd_; }

 private:
  int fd_;
};

// kUnavailable, naming the address, when it cannot be had. Port 0: any that is free.
Result<Socket> listen_at(const SocketAddress& address);
int bound_port(const Socket& listening);
Result<Socket> connect_to(const SocketAddress& address, const SocketWait& wait);

// At least one byte, or 0 when the peer has closed. kUnavailable: broken, too late or given up.
Result<size_t> receive_some(const Socket& socket, char* buffer, size_t size,
                            const SocketWait& wait);
Status send_all(const Socket& socket, std::string_view bytes, const SocketWait& wait);

}  // namespace leasehold
