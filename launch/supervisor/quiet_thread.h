// A thread that takes no signals, except those that its own mistakes raise: they are for the thread
// that waits for them.
#pragma once

#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

#include "runtime/base/status.h"

namespace leasehold {

// kUnavailable when the system has no thread left.
template <typename Function>
Result<std::thread> start_quiet_thread(Function function) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&all, own);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  Status status;
  try {
    thread = std::thread(std::move(function));
  } catch (const std::system_error& failure) {
    status = error(Code::kUnavailable, "no thread can be started: {}", failure.what());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!status.ok()) return status;
  return thread;
}

}  // namespace leasehold
