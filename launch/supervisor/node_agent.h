// In `leasehold-train`, on the first rank of each node: reports to the supervisor once a second and
// takes its orders. It heeds only what is proved with the run's key (control_proof.h): neither a
// supervisor that cannot be reached nor somebody else at its port stops anything, and the agent
// continues to try, also where the supervisor is found meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "launch/supervisor/control_protocol.h"
#include "runtime/base/mac.h"

namespace leasehold {

struct NodeAgentOptions {
  std::string supervisor;  // "address:port" (LEASEHOLD_SUPERVISOR); numeric, IPv6 in brackets
  SecretKey key;           // of the run's agents
  // Returns where the supervisor is to be found now; asked after each report that nobody took, from
  // the agent's thread. Texts that are no address are ignored. Empty: nobody knows.
  std::function<std::string()> find;
  double interval_s = 1;
  double request_timeout_s = 3;
};

// Called from the agent's thread; none may wait.
struct NodeAgentEvents {
  std::function<Report()> report;                        // what to say now; the agent numbers it
  std::function<void(const std::string& reason)> drain;  // once, when first told to
  // Once, when told of a newer generation than the report's: leave without publishing. The agent
  // says nothing more.
  std::function<void(const std::string& reason)> fenced;
};

class NodeAgent {
 public:
  // Starts the thread; the first report goes out at once. kUsage for a malformed address.
  static Result<std::unique_ptr<NodeAgent>> start(NodeAgentOptions options, NodeAgentEvents events);
  // Sends a last report (none after it was fenced), waiting at most request_timeout_s. Its answer
  // is heeded.
  virtual ~NodeAgent() = default;
  // Something changed: do not wait for the interval. Many at once become one report.
  virtual void report_soon() = 0;
};

}  // namespace leasehold
