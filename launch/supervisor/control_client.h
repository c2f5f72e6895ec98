// HTTP requests to a supervisor's port, as agents and the `leasehold` tool make them: proved, and
// believed only where the answer is proved (control_proof.h). Needs no HTTP library: it speaks to
// ControlServer alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "launch/supervisor/control_proof.h"
#include "launch/supervisor/control_protocol.h"
#include "launch/supervisor/control_socket.h"

namespace leasehold {

struct ControlRequest {
  std::string method;
  std::string path;
  std::string body;
};

struct ControlReply {
  int status = 0;
  std::string body;
  std::optional<AnswerProof> proof;  // as it came
};

// The bytes of a whole response (fuzzed). kBadData unless there is a status and a body of exactly
// its Content-Length.
Result<ControlReply> parse_reply(std::string_view text);

// One side of a conversation: it keeps the session between requests. Not thread-safe.
class ControlClient {
 public:
  // Replies of more than `max_bytes` are refused.
  ControlClient(const SecretKey& key, int64_t max_bytes) : key_(key), max_bytes_(max_bytes) {}

  // Returns what the holder of the key answers, whatever its status. kUnavailable, naming the
  // address: unreachable, too late, no HTTP, or somebody who does not prove that he has the key.
  Result<ControlReply> ask(const SocketAddress& address, const ControlRequest& request,
                           const SocketWait& wait);

 private:
  Result<ControlReply> ask_once(const SocketAddress& address, const ControlRequest& request,
                                const SocketWait& wait);

  SecretKey key_;
  int64_t max_bytes_;
  std::string session_ = std::string(kNoSession);
};

// What an operator asks of a supervisor on this machine. kUnavailable when none answers in time;
// kUsage, with what it said, when it refuses.
struct Operator {
  int port = 0;
  SecretKey key;
  double timeout_s = 5;
};
Result<std::string> ask_state(const Operator& who);  // JSON
Status ask_drain(const Operator& who, const std::string& reason);

}  // namespace leasehold
