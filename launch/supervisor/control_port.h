// A listening TCP port and the few threads that serve it. A connection has a deadline for all of
// its bytes, and when every thread is busy while others wait, one that has had its grace gives way:
// slow clients cannot keep the others out.
#pragma once

#include <memory>

#include "launch/supervisor/control_http.h"
#include "launch/supervisor/control_socket.h"

namespace leasehold {

struct ControlPortOptions {
  SocketAddress address;  // port 0: any that is free
  int num_threads = 8;
  double connection_s = 5;  // for a request and its response
  double grace_s = 0.25;    // what a connection has while others wait
};

class ControlPort {
 public:
  // Listens when this returns. `service` outlives the port. kUnavailable, naming the address.
  static Result<std::unique_ptr<ControlPort>> open(const ControlPortOptions& options,
                                                   const HttpService& service);
  // Ends once the answers under way are made; waits for no client.
  virtual ~ControlPort() = default;
  virtual int port() const = 0;
};

}  // namespace leasehold
