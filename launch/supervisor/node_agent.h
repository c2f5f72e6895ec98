// In `leasehold-train`, on the first rank of each node: reports to the supervisor once a second and
// takes its orders. An unreachable supervisor stops nothing.
#pragma once

#include <functional>
#include <memory>

#include "launch/supervisor/control_protocol.h"

namespace leasehold {

struct NodeAgentOptions {
  std::string supervisor;  // "address:port" (LEASEHOLD_SUPERVISOR)
  std::string token;       // LEASEHOLD_TOKEN
  double interval_s = 1;
  double request_timeout_s = 3;
};

struct NodeAgentEvents {
  std::function<Report()> report;                        // what to say now; any thread
  std::function<void(const std::string& reason)> drain;  // once, when first told to
  std::function<void(const std::string& reason)> fenced;  // once, on 409: leave without publishing
};

class NodeAgent {
 public:
  // Starts the thread; the first report goes out at once. kUsage for a malformed address.
  static Result<std::unique_ptr<NodeAgent>> start(NodeAgentOptions options, NodeAgentEvents events);
  virtual ~NodeAgent() = default;  // sends a last report, waiting at most request_timeout_s
  virtual void report_soon() = 0;  // something changed: do not wait for the interval
};

}  // namespace leasehold
