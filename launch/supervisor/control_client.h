// One HTTP request to a supervisor's port, as agents and the `leasehold` tool make them. Needs no
// HTTP library: it speaks to ControlServer alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "launch/supervisor/control_protocol.h"
#include "launch/supervisor/control_socket.h"

namespace leasehold {

struct ControlRequest {
  std::string method;
  std::string path;
  std::string token;
  std::string body;
};

struct ControlReply {
  int status = 0;
  std::string body;
};

// Any status is a reply. kUnavailable, naming the address: unreachable, too late, or what comes
// back is no HTTP of at most `max_bytes`.
Result<ControlReply> send_request(const SocketAddress& address, const ControlRequest& request,
                                  const SocketWait& wait, int64_t max_bytes);

// The bytes of a whole response (fuzzed). kBadData unless there is a status and a body of exactly
// its Content-Length.
Result<ControlReply> parse_reply(std::string_view text);

// What an operator asks of a supervisor on this machine. kUnavailable when none answers in time;
// kUsage, with what it said, when it refuses.
struct Operator {
  int port = 0;
  std::string token;
  double timeout_s = 5;
};
Result<std::string> ask_state(const Operator& who);  // JSON
Status ask_drain(const Operator& who, const std::string& reason);

}  // namespace leasehold
