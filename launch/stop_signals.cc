#include "launch/stop_signals.h"

#include <csignal>

namespace leasehold {

namespace {

// A signal handler can only reach a global.
std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

void request_stop(int) { stop_requested.store(true); }

}  // namespace

const std::atomic<bool>& catch_stop_signals() {
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  return stop_requested;
}

void survive_failed_writes() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void survive_closed_terminal() { std::signal(SIGHUP, SIG_IGN); }

}  // namespace leasehold
