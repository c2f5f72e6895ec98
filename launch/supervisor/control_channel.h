// The control channel of one supervisor: the server with the secrets and, where they are free, the
// ports of the run's supervisor before, so that a generation that outlived that one finds this one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "launch/supervisor/control_server.h"
#include "runtime/base/clock.h"
#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

class ControlChannel {
 public:
  // Listens when this returns; `handler` outlives the channel and knows the present generation
  // already, as agents may report at once. The caller holds RUN_DIR/lock. Writes nothing.
  // kUnavailable, naming the address, when no port can be had there; kUsage when it is not numeric;
  // kBadData when RUN_DIR/supervisor/agent_key is damaged.
  static Result<std::unique_ptr<ControlChannel>> open(FileSystem& files, const std::string& run_dir,
                                                      const std::string& cluster_address,
                                                      ControlHandler& handler);
  virtual ~ControlChannel() = default;

  // Returns "address:port", where agents reach it.
  virtual std::string address() const = 0;
  // Writes the files by which agents, operators and the next supervisor find it (control_file.h).
  // Before the first generation starts. kStorage.
  virtual Status announce() = 0;
};

// Announces `channel`; while that fails with kStorage (a full disk), tries again after every second
// of `clock`, for `limit_s` seconds. A generation that the supervisor adopted trains meanwhile.
// Calls `on_failure` with the first failure. Returns the last failure when the time is over or
// `must_stop` returns true.
Status announce_with_patience(ControlChannel& channel, Clock& clock, double limit_s,
                              const std::function<bool()>& must_stop,
                              const std::function<void(const Status&)>& on_failure);

}  // namespace leasehold
