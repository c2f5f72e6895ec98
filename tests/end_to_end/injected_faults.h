// Faults that a test injects into a run while it runs: preload_faults.cc, which the run's
// processes preload, reads it from a file that they share with the test.
#pragma once

#include <atomic>
#include <cstdint>

namespace leasehold {

struct InjectedFaults {
  std::atomic<int64_t> clock_step_ms;  // added to the wall clock
  std::atomic<int64_t> sync_delay_ms;  // that an fsync takes on top
  std::atomic<int64_t> send_delay_us;  // that a message takes on top, on a network's socket
  std::atomic<bool> disk_is_full;      // for regular files whose path contains `disk`
  std::atomic<bool> node_is_broken;    // the one of LEASEHOLD_NODE = `node` finds no token files
  char disk[256];
  char node[64];
};

// The variable that names the file.
inline constexpr const char* kInjectedFaults = "LEASEHOLD_TEST_FAULTS";

}  // namespace leasehold
