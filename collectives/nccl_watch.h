// Inside `nccl`: the thread that looks after a rank's groups, one for a group and everything that
// was split off it. It is what notices that an operation is late while the rank's own thread is
// elsewhere; threads that wait for an operation look for themselves besides.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "collectives/nccl_group.h"

namespace leasehold {

class NcclWatch {
 public:
  // `closing_limit_s`: how long ending NCCL communicators may take at the end.
  explicit NcclWatch(double closing_limit_s);
  // Ends what is left, within the limit.
  ~NcclWatch();
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;

  void add(std::shared_ptr<NcclGroup> group);
  // The group's communicator is gone: from now on only its end is looked after.
  void close(const std::shared_ptr<NcclGroup>& group);
  // Something was issued.
  void wake();

 private:
  void thread_main();

  const double closing_limit_s_;
  std::mutex looking_mutex_;  // held while groups are looked at
  std::vector<std::shared_ptr<NcclGroup>> groups_, closing_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> asleep_{false};
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace leasehold
