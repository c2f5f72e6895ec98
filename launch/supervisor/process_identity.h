// Which process a number means: numbers are used again, so a process is known by its number, the
// moment it started and the boot of the machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct ProcessIdentity {
  int64_t pid = 0;
  uint64_t start_ticks = 0;  // since boot (field 22 of /proc/PID/stat)
  std::string boot;          // /proc/sys/kernel/random/boot_id

  bool operator==(const ProcessIdentity&) const = default;
};

// kMissingInput when there is no such process, or only its zombie.
Result<ProcessIdentity> identify_process(int64_t pid);
bool is_alive(const ProcessIdentity& process);
// Sends `signal`; false when the process is not alive any more.
bool signal_process(const ProcessIdentity& process, int signal);

// SIGKILL to every process of the session that `leader` began, the leader itself included unless
// `spare_leader`; also when the leader is dead already. Nothing when its number means another
// process today. Returns how many were hit. Processes that begin others meanwhile are hit again.
int64_t kill_session(const ProcessIdentity& leader, bool spare_leader);

// {"pid": 812, "start_ticks": 99, "boot": "..."}; strict (fuzzed): kBadData, naming `file`.
std::string encode_identity(const ProcessIdentity& process);
Result<ProcessIdentity> parse_identity(std::string_view text, const std::string& file);

}  // namespace leasehold
