#include "tests/end_to_end/fault_injection.h"

#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/check.h"

namespace leasehold {

FaultInjection::FaultInjection(const std::string& directory) : path_(directory + "/faults") {
  const int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  LEASEHOLD_CHECK(file >= 0 && ::ftruncate(file, sizeof(InjectedFaults)) == 0, "{}: {}", path_,
                  std::strerror(errno));
  void* shared =
      ::mmap(nullptr, sizeof(InjectedFaults), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  LEASEHOLD_CHECK(shared != MAP_FAILED, "{}: {}", path_, std::strerror(errno));
  faults_ = static_cast<InjectedFaults*>(shared);
}

FaultInjection::~FaultInjection() { ::munmap(faults_, sizeof(InjectedFaults)); }

std::vector<std::string> FaultInjection::environment() const {
  return {"LD_PRELOAD=" LEASEHOLD_PRELOAD_FAULTS, std::string(kInjectedFaults) + "=" + path_};
}

void FaultInjection::fill_disk(const std::string& directory) {
  std::strncpy(faults_->disk, directory.c_str(), sizeof faults_->disk - 1);
  faults_->disk_is_full = true;
}

void FaultInjection::break_node(const std::string& node) {
  std::strncpy(faults_->node, node.c_str(), sizeof faults_->node - 1);
  faults_->node_is_broken = true;
}

}  // namespace leasehold
