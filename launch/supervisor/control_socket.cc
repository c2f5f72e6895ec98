#include "launch/supervisor/control_socket.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace leasehold {

namespace {

constexpr double kSliceS = 0.05;
constexpr int kBacklog = 512;
constexpr int kMaxPort = 65535;

using AddressInfo = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Result<AddressInfo> resolve(const SocketAddress& address, int flags) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  const int failure =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (failure != 0) {
    return error(Code::kUsage, "'{}' is no numeric address, such as 10.0.0.1: {}", address.host,
                 gai_strerror(failure));
  }
  return AddressInfo(found, freeaddrinfo);
}

Result<Socket> make_socket(int family) {
  Socket socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.fd() < 0) return error(Code::kUnavailable, "no socket: {}", std::strerror(errno));
  return socket;
}

// Until `events` are there.
Status wait_for(const Socket& socket, short events, const SocketWait& wait) {
  for (;;) {
    if (wait.give_up && wait.give_up()) return error(Code::kUnavailable, "given up");
    const double left_s = wait.deadline.remaining_s();
    if (left_s <= 0) return error(Code::kUnavailable, "the time is over");
    pollfd waited = {socket.fd(), events, 0};
    const int slice_ms = static_cast<int>(std::min(left_s, kSliceS) * 1000) + 1;
    const int ready = poll(&waited, 1, slice_ms);
    if (ready > 0) return ok_status();  // also for an error: the next call on the socket tells it
    if (ready < 0 && errno != EINTR) {
      return error(Code::kUnavailable, "poll: {}", std::strerror(errno));
    }
  }
}

bool is_temporary(int number) {
  return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

Result<SocketAddress> parse_socket_address(const std::string& text) {
  const Status bad =
      error(Code::kUsage, "'{}' is no address; write 10.0.0.1:7000 or [fd00::1]:7000", text);
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad;
  SocketAddress address = {text.substr(0, colon), 0};
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data() + colon + 1, end, address.port);
  if (failure != std::errc() || stop != end || address.port < 1 || address.port > kMaxPort) {
    return bad;
  }
  const bool is_bracketed = address.host.starts_with('[') && address.host.ends_with(']');
  if (is_bracketed) address.host = address.host.substr(1, address.host.size() - 2);
  if (is_bracketed != (address.host.find(':') != std::string::npos)) return bad;
  if (!resolve(address, 0).ok()) return bad;
  return address;
}

std::string format_socket_address(const SocketAddress& address) {
  const bool is_ipv6 = address.host.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("[{}]:{}", address.host, address.port)
                 : fmt::format("{}:{}", address.host, address.port);
}

Result<Socket> listen_at(const SocketAddress& address) {
  LEASEHOLD_ASSIGN_OR_RETURN(const AddressInfo info, resolve(address, AI_PASSIVE));
  LEASEHOLD_ASSIGN_OR_RETURN(Socket socket, make_socket(info->ai_family));
  // A port whose last connections have ended only now is free for a new supervisor.
  const int on = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(socket.fd(), info->ai_addr, info->ai_addrlen) != 0 ||
      listen(socket.fd(), kBacklog) != 0) {
    return error(Code::kUnavailable, "cannot listen at {}: {}", format_socket_address(address),
                 std::strerror(errno));
  }
  return socket;
}

int bound_port(const Socket& listening) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (getsockname(listening.fd(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return -1;
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

Result<Socket> connect_to(const SocketAddress& address, const SocketWait& wait) {
  const std::string name = format_socket_address(address);
  LEASEHOLD_ASSIGN_OR_RETURN(const AddressInfo info, resolve(address, 0));
  LEASEHOLD_ASSIGN_OR_RETURN(Socket socket, make_socket(info->ai_family));
  const int on = 1;
  setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(socket.fd(), info->ai_addr, info->ai_addrlen) == 0) return socket;
  if (errno != EINPROGRESS && errno != EINTR) {
    return error(Code::kUnavailable, "{} cannot be reached: {}", name, std::strerror(errno));
  }
  const Status waited = wait_for(socket, POLLOUT, wait);
  if (!waited.ok()) return waited.annotated(name + " cannot be reached");
  int failure = 0;
  socklen_t size = sizeof failure;
  getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &failure, &size);
  if (failure != 0) {
    return error(Code::kUnavailable, "{} cannot be reached: {}", name, std::strerror(failure));
  }
  return socket;
}

Result<size_t> receive_some(const Socket& socket, char* buffer, size_t size,
                            const SocketWait& wait) {
  for (;;) {
    if (wait.deadline.passed()) return error(Code::kUnavailable, "the time is over");
    const ssize_t got = recv(socket.fd(), buffer, size, 0);
    if (got >= 0) return static_cast<size_t>(got);
    if (!is_temporary(errno)) {
      return error(Code::kUnavailable, "the connection broke: {}", std::strerror(errno));
    }
    LEASEHOLD_RETURN_IF_ERROR(wait_for(socket, POLLIN, wait));
  }
}

Status send_all(const Socket& socket, std::string_view bytes, const SocketWait& wait) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (is_temporary(errno)) {
      LEASEHOLD_RETURN_IF_ERROR(wait_for(socket, POLLOUT, wait));
    } else {
      return error(Code::kUnavailable, "the connection broke: {}", std::strerror(errno));
    }
  }
  return ok_status();
}

}  // namespace leasehold
