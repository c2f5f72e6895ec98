// Ends the process where a call that cannot be given up does not come back: MPI_Init while a rank
// is missing, MPI_Finalize while a peer hangs.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/base/status.h"

namespace leasehold {

class CallLimit {
 public:
  // Unless this object is destroyed within `limit_s` seconds, calls `overdue` with kUnavailable,
  // which names `what` and the limit, on a thread of its own. `overdue` should end the process:
  // what hangs will not. Empty: there is no limit.
  CallLimit(const std::string& what, double limit_s, std::function<void(const Status&)> overdue);
  ~CallLimit();
  CallLimit(const CallLimit&) = delete;
  CallLimit& operator=(const CallLimit&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace leasehold
