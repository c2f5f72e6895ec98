#include "collectives/nccl_watch.h"

#include <algorithm>
#include <chrono>

namespace leasehold {

namespace {

// Between two looks, with and without operations under way. A peer that gave up and an error of
// NCCL are noticed after the latter at the latest.
constexpr auto kBusyInterval = std::chrono::milliseconds(1);
constexpr auto kIdleInterval = std::chrono::milliseconds(20);

}  // namespace

NcclWatch::NcclWatch(double closing_limit_s)
    : closing_limit_s_(closing_limit_s), thread_([this] { thread_main(); }) {}

NcclWatch::~NcclWatch() {
  const Deadline limit = Deadline::after_s(closing_limit_s_);
  while (!limit.passed()) {
    {
      std::lock_guard looking(looking_mutex_);
      if (closing_.empty()) break;
    }
    std::this_thread::sleep_for(kBusyInterval);
  }
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    wake_.notify_all();
  }
  thread_.join();
  for (const auto& group : closing_) group->abandon();
}

void NcclWatch::add(std::shared_ptr<NcclGroup> group) {
  std::lock_guard looking(looking_mutex_);
  groups_.push_back(std::move(group));
}

void NcclWatch::close(const std::shared_ptr<NcclGroup>& group) {
  std::lock_guard looking(looking_mutex_);
  std::erase(groups_, group);
  closing_.push_back(group);
}

void NcclWatch::wake() {
  if (!asleep_) return;
  std::lock_guard lock(mutex_);
  wake_.notify_all();
}

void NcclWatch::thread_main() {
  while (true) {
    bool busy = false;
    {
      std::lock_guard looking(looking_mutex_);
      for (const auto& group : groups_) busy = group->look() || busy;
      std::erase_if(closing_, [](const auto& group) { return group->look_after_leaving(); });
      busy = busy || !closing_.empty();
    }
    std::unique_lock lock(mutex_);
    if (stop_) return;
    asleep_ = !busy;
    wake_.wait_for(lock, busy ? std::chrono::steady_clock::duration(kBusyInterval)
                              : std::chrono::steady_clock::duration(kIdleInterval));
    asleep_ = false;
    if (stop_) return;
  }
}

}  // namespace leasehold
