// In `leasehold-train`, on the first rank of each node: reports to the supervisor once a second and
// takes its orders. An unreachable supervisor stops nothing: the agent goes on trying.
#pragma once

#include <functional>
#include <memory>

#include "launch/supervisor/control_protocol.h"

namespace leasehold {

struct NodeAgentOptions {
  std::string supervisor;  // "address:port" (LEASEHOLD_SUPERVISOR); numeric, IPv6 in brackets
  std::string token;       // LEASEHOLD_TOKEN
  double interval_s = 1;
  double request_timeout_s = 3;
};

// Called from the agent's thread; none may wait.
struct NodeAgentEvents {
  std::function<Report()> report;                        // what to say now
  std::function<void(const std::string& reason)> drain;  // once, when first told to
  // Once, on 409: leave without publishing. The agent says nothing more.
  std::function<void(const std::string& reason)> fenced;
};

class NodeAgent {
 public:
  // Starts the thread; the first report goes out at once. kUsage for a malformed address.
  static Result<std::unique_ptr<NodeAgent>> start(NodeAgentOptions options, NodeAgentEvents events);
  // Sends a last report (none after a 409), waiting at most request_timeout_s. Its answer is
  // heeded.
  virtual ~NodeAgent() = default;
  // Something changed: do not wait for the interval. Many at once become one report.
  virtual void report_soon() = 0;
};

}  // namespace leasehold
