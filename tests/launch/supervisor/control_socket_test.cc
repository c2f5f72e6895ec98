#include "launch/supervisor/control_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <vector>

namespace leasehold {
namespace {

SocketWait within_s(double seconds) { return {Deadline::after_s(seconds), {}}; }

TEST(ControlSocket, AddressesAreNumeric) {
  for (const char* text : {"127.0.0.1:7000", "0.0.0.0:1", "[::1]:65535", "[fd00::1]:80"}) {
    const Result<SocketAddress> address = parse_socket_address(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(format_socket_address(*address), text);
  }
  for (const char* text :
       {"", ":", "127.0.0.1", "127.0.0.1:", ":7000", "127.0.0.1:0", "127.0.0.1:65536",
        "127.0.0.1:-1", "127.0.0.1:7000 ", "127.0.0.1: 7000", "127.0.0.1:7x", "::1:7000",
        "[127.0.0.1]:7000", "[::1:7000", "256.0.0.1:7000", "localhost:7000",
        "http://127.0.0.1:7000", "127.0.0.1:99999999999999999999"}) {
    const Result<SocketAddress> address = parse_socket_address(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), Code::kUsage) << text;
  }
}

TEST(ControlSocket, APortThatIsTakenIsNamed) {
  const Result<Socket> first = listen_at({"127.0.0.1", 0});
  ASSERT_TRUE(first.ok());
  const int port = bound_port(*first);
  const Result<Socket> second = listen_at({"127.0.0.1", port});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::kUnavailable);
  EXPECT_NE(second.status().message().find(fmt::format("127.0.0.1:{}", port)), std::string::npos);
}

TEST(ControlSocket, NobodyListeningIsToldAtOnce) {
  int port = 0;
  {
    const Result<Socket> gone = listen_at({"127.0.0.1", 0});
    ASSERT_TRUE(gone.ok());
    port = bound_port(*gone);
  }
  const Result<Socket> connected = connect_to({"127.0.0.1", port}, within_s(60));
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.status().code(), Code::kUnavailable);
}

TEST(ControlSocket, NoDescriptorIsInherited) {
  const Result<Socket> listening = listen_at({"127.0.0.1", 0});
  ASSERT_TRUE(listening.ok());
  const Result<Socket> connected = connect_to({"127.0.0.1", bound_port(*listening)}, within_s(60));
  ASSERT_TRUE(connected.ok());
  for (const int fd : {listening->fd(), connected->fd()}) {
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST(ControlSocket, WaitsEndAtTheirDeadlineOrWhenGivenUp) {
  const Result<Socket> listening = listen_at({"127.0.0.1", 0});
  ASSERT_TRUE(listening.ok());
  const Result<Socket> silent = connect_to({"127.0.0.1", bound_port(*listening)}, within_s(60));
  ASSERT_TRUE(silent.ok());

  char byte = 0;
  const Result<size_t> late = receive_some(*silent, &byte, 1, within_s(0.02));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.status().code(), Code::kUnavailable);

  int num_asked = 0;
  const SocketWait given_up = {Deadline::after_s(60), [&] { return ++num_asked > 1; }};
  EXPECT_FALSE(receive_some(*silent, &byte, 1, given_up).ok());
  EXPECT_EQ(num_asked, 2);

  // Nobody reads: what the system buffers goes out, the rest waits.
  EXPECT_FALSE(send_all(*silent, std::string(64 << 20, 'x'), within_s(0.02)).ok());
}

}  // namespace
}  // namespace leasehold
