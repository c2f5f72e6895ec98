// Ends the process if a call that cannot be interrupted does not return: MPI_Init while a rank is
// missing, MPI_Finalize while a peer hangs.
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
  // Starts a thread that calls `overdue` unless this object is destroyed within `limit_s` seconds.
  // `overdue` gets kUnavailable, which names `what` and the limit, and should end the process: the
  // call that hangs will not return. Without `overdue` there is no limit.
  CallLimit(const std::string& what, double limit_s, std::function<void(const Status&)> overdue);
  ~CallLimit();
  CallLimit(const CallLimit&) = delete;
  CallLimit& operator=(const CallLimit&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;  // last: it uses the members above
};

}  // namespace leasehold
