// Injects faults into a run's processes, as the test's side of preload_faults.cc.
#pragma once

#include <string>
#include <vector>

#include "tests/end_to_end/injected_faults.h"

namespace leasehold {

class FaultInjection {
 public:
  // Makes the file in `directory`, with nothing injected.
  explicit FaultInjection(const std::string& directory);
  ~FaultInjection();
  FaultInjection(const FaultInjection&) = delete;
  FaultInjection& operator=(const FaultInjection&) = delete;

  // Returns the variables ("A=b") for a process that is to meet the faults, and for its children.
  std::vector<std::string> environment() const;
  InjectedFaults& faults() { return *faults_; }
  // Makes the disk that holds files below a directory of this name full, or no longer full.
  void fill_disk(const std::string& directory);
  void free_disk() { faults_->disk_is_full = false; }
  // Takes the data away from a node, or gives it back.
  void break_node(const std::string& node);
  void mend_node() { faults_->node_is_broken = false; }

 private:
  std::string path_;
  InjectedFaults* faults_;
};

}  // namespace leasehold
