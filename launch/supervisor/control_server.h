// The supervisor's two HTTP ports: one that agents on the nodes report to, one on loopback for
// operators (control_protocol.h says what each takes). It holds no state of the job: it asks and
// tells a ControlHandler.
#pragma once

#include <memory>

#include "launch/supervisor/control_protocol.h"
#include "runtime/base/mac.h"

namespace leasehold {

// Called from the server's threads, several at a time; an answer waits for it, so it must be quick.
class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  virtual int64_t generation() = 0;                    // the present one; 0: none yet
  virtual Answer on_report(const Report& report) = 0;  // of the present generation
  virtual std::string state_json() = 0;
  virtual std::string prometheus_metrics() = 0;
  virtual void on_drain(const std::string& reason) = 0;
};

struct ControlServerOptions {
  std::string cluster_address = "127.0.0.1";  // where agents reach it; numeric
  int cluster_port = 0;                       // 0: any that is free
  int operator_port = 0;                      // on 127.0.0.1
  SecretKey agent_key;                        // of the cluster port
  SecretKey operator_key;                     // of the operators' port
  std::string scraper_token;                  // for GET /metrics; "": none is taken
  double read_timeout_s = 5;  // a client that is slower with all it says and hears is cut off
};

class ControlServer {
 public:
  // Both ports listen when this returns. `handler` outlives the server. kUnavailable, naming
  // address and port, when one cannot; kUsage for an address that is not numeric.
  static Result<std::unique_ptr<ControlServer>> start(const ControlServerOptions& options,
                                                      ControlHandler& handler);
  // Stops both. Waits for calls of the handler that are under way, but for no client.
  virtual ~ControlServer() = default;
  virtual int cluster_port() const = 0;
  virtual int operator_port() const = 0;
};

}  // namespace leasehold
