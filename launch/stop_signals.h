// Handles the signals that end a process by default, for processes that must clean up first.
#pragma once

#include <atomic>

namespace leasehold {

// Makes SIGINT and SIGTERM set the returned flag from now on, instead of ending the process. For
// commands that work for minutes and leave nothing half done when they are stopped. The flag lives
// as long as the process.
const std::atomic<bool>& catch_stop_signals();

// Turns a write to a pipe without readers, or beyond the file size limit (ulimit -f), into an error
// (EPIPE, EFBIG) instead of a signal (SIGPIPE, SIGXFSZ). For processes that work for months.
void survive_failed_writes();
// Keeps a closing terminal (SIGHUP) from ending the process.
void survive_closed_terminal();

}  // namespace leasehold
