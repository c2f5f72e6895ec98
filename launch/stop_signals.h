// The signals that end a process by default, where it has something to put in order first.
#pragma once

#include <atomic>

namespace leasehold {

// For commands that work for minutes and leave nothing half done when they are stopped: from now on
// SIGINT and SIGTERM make the flag true instead of ending the process. The flag lives as long as
// the process.
const std::atomic<bool>& catch_stop_signals();

// For processes that work for months: a pipe that nobody reads any more and a file at its size
// limit (ulimit -f) become errors of the write, EPIPE and EFBIG, instead of SIGPIPE and SIGXFSZ.
void survive_failed_writes();
// A terminal that closes (SIGHUP) no longer ends the process.
void survive_closed_terminal();

}  // namespace leasehold
