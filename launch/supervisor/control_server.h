// The supervisor's two HTTP ports: one that agents on the nodes report to, one on loopback for
// operators. It holds no state of the job: it asks and tells a ControlHandler.
#pragma once

#include <memory>

#include "launch/supervisor/control_protocol.h"

namespace leasehold {

// Called from the server's threads, several at a time.
class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  virtual int64_t generation() = 0;  // the present one
  virtual Answer on_report(const Report& report) = 0;
  virtual std::string state_json() = 0;
  virtual std::string prometheus_metrics() = 0;
  virtual void on_drain(const std::string& reason) = 0;
};

struct ControlServerOptions {
  std::string cluster_address = "127.0.0.1";  // where agents reach it
  int cluster_port = 0;                       // 0: any that is free
  int operator_port = 0;                      // on 127.0.0.1
  std::string token;
  double read_timeout_s = 5;  // a client that is slower is cut off
};

class ControlServer {
 public:
  // Both ports listen when this returns. kUnavailable, naming address and port, when one cannot.
  static Result<std::unique_ptr<ControlServer>> start(const ControlServerOptions& options,
                                                      ControlHandler& handler);
  virtual ~ControlServer() = default;  // stops both, waiting for requests under way
  virtual int cluster_port() const = 0;
  virtual int operator_port() const = 0;
};

}  // namespace leasehold
