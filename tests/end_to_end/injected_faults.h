// Declares the faults that a test injects into a running run. The run's processes preload
// preload_faults.cc, which reads the faults from a file shared with the test.
#pragma once

#include <atomic>
#include <cstdint>

namespace leasehold {

struct InjectedFaults {
  std::atomic<int64_t> clock_step_ms;  // added to the wall clock
  std::atomic<int64_t> sync_delay_ms;  // added to every fsync
  std::atomic<int64_t> send_delay_us;  // added to every message on a network socket
  std::atomic<bool> disk_is_full;      // for regular files whose path contains `disk`
  std::atomic<bool> node_is_broken;    // the node with LEASEHOLD_NODE = `node` finds no token files
  char disk[256];
  char node[64];
};

// The environment variable that names the file.
inline constexpr const char* kInjectedFaults = "LEASEHOLD_TEST_FAULTS";

}  // namespace leasehold
