#include "launch/drain_signals.h"

#include <csignal>

namespace leasehold {

namespace {

// A signal handler can only reach a global.
DrainRequest* requested = nullptr;

extern "C" void handle_drain_signal(int signal) { requested->request(signal); }

}  // namespace

void drain_on_signals(DrainRequest& request) {
  requested = &request;
  struct sigaction action {};
  action.sa_handler = handle_drain_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
  struct sigaction hangup {};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
  action.sa_flags =
      static_cast<int>(SA_RESTART | SA_RESETHAND);  // a second Ctrl-C ends the process
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace leasehold
