#include "runtime/base/call_limit.h"

#include <chrono>
#include <utility>

namespace leasehold {

CallLimit::CallLimit(const std::string& what, double limit_s,
                     std::function<void(const Status&)> overdue) {
  if (!overdue) return;
  thread_ = std::thread([this, what, limit_s, overdue = std::move(overdue)] {
    std::unique_lock lock(mutex_);
    const bool in_time =
        changed_.wait_for(lock, std::chrono::duration<double>(limit_s), [this] { return over_; });
    if (in_time) return;
    overdue(error(Code::kUnavailable, "{} has not come back within {:.0f} s", what, limit_s));
  });
}

CallLimit::~CallLimit() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace leasehold
