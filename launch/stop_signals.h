// For commands that work for minutes and leave nothing half done when they are stopped.
#pragma once

#include <atomic>

namespace leasehold {

// From now on SIGINT and SIGTERM make the flag true instead of ending the process. The flag lives
// as long as the process.
const std::atomic<bool>& catch_stop_signals();

}  // namespace leasehold
