#include "collectives/thread_world.h"

#include <algorithm>
#include <chrono>

#include "collectives/thread_group.h"

namespace leasehold {

ThreadWorldState::ThreadWorldState(int size, const ThreadWorldOptions& options)
    : options_(options),
      num_calls_(static_cast<size_t>(size)),
      fates_(static_cast<size_t>(size)),
      still_(static_cast<size_t>(size)),
      delays_(RandomSite::make(options.delay_seed, "collectives.threads")) {
  moving_.reserve(8 * static_cast<size_t>(size));  // so that nothing allocates later
  if (is_slow()) mover_ = std::thread([this] { mover_main(); });
}

ThreadWorldState::~ThreadWorldState() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (mover_.joinable()) mover_.join();
}

void ThreadWorldState::register_group(const std::shared_ptr<ThreadGroup>& group) {
  std::lock_guard lock(mutex_);
  std::erase_if(groups_, [](const auto& entry) { return entry.expired(); });
  groups_.push_back(group);
}

void ThreadWorldState::retire(std::vector<std::shared_ptr<ThreadOperation>> operations) {
  std::lock_guard lock(mutex_);
  for (auto& operation : operations) retired_.push_back(std::move(operation));
}

bool ThreadWorldState::on_call(int rank, const OperationSummary& summary) {
  std::unique_lock lock(mutex_);
  const int64_t call = num_calls_[static_cast<size_t>(rank)]++;
  bool flip = false;
  for (const ThreadFault& fault : options_.faults) {
    if (fault.rank != rank || fault.operation != call) continue;
    if (fault.kind == ThreadFault::Kind::kFlipBit) flip = true;
    if (fault.kind == ThreadFault::Kind::kDie) {
      std::string& fate = fates_[static_cast<size_t>(rank)];
      fate = fmt::format("died at {}, its call {}", to_string(summary), call);
      const Status reason = error(Code::kUnavailable, "rank {} of the world {}", rank, fate);
      lock.unlock();
      abort_groups_of(rank, reason);
      throw RankGone{rank};
    }
    if (fault.kind == ThreadFault::Kind::kFreeze) {
      fates_[static_cast<size_t>(rank)] =
          fmt::format("does not answer since {}, its call {}", to_string(summary), call);
      still_[static_cast<size_t>(rank)] = true;
      changed_.notify_all();
      changed_.wait(lock, [&] { return thawed_; });
      throw RankGone{rank};
    }
  }
  return flip;
}

std::string ThreadWorldState::fate(int rank) {
  std::lock_guard lock(mutex_);
  return fates_[static_cast<size_t>(rank)];
}

void ThreadWorldState::mark_ended(int rank) {
  std::lock_guard lock(mutex_);
  std::string& fate = fates_[static_cast<size_t>(rank)];
  if (fate.empty()) fate = "has ended";
  still_[static_cast<size_t>(rank)] = true;
  changed_.notify_all();
}

void ThreadWorldState::abort_groups_of(int rank, const Status& reason) {
  std::vector<std::shared_ptr<ThreadGroup>> groups;
  {
    std::lock_guard lock(mutex_);
    for (const auto& entry : groups_) {
      if (auto group = entry.lock(); group && group->contains(rank))
        groups.push_back(std::move(group));
    }
  }
  for (const auto& group : groups) group->abort(reason);
}

void ThreadWorldState::thaw() {
  std::lock_guard lock(mutex_);
  thawed_ = true;
  changed_.notify_all();
}

void ThreadWorldState::wait_until_still() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock,
                [&] { return std::find(still_.begin(), still_.end(), false) == still_.end(); });
}

// Draws a delay: two in three are up to 300 us.
double ThreadWorldState::draw_delay_s() {
  const uint32_t draw = delays_.word(num_delays_++);
  return draw % 3 == 0 ? 0 : draw / 3 % 300 * 1e-6;
}

void ThreadWorldState::dawdle() {
  if (options_.delay_seed == 0) return;
  std::unique_lock lock(mutex_);
  const double delay_s = draw_delay_s();
  lock.unlock();
  if (delay_s > 0) std::this_thread::sleep_for(std::chrono::duration<double>(delay_s));
}

void ThreadWorldState::perform_soon(ThreadGroup& group, Rendezvous& rendezvous) {
  if (!is_slow()) return group.perform(rendezvous);
  std::lock_guard lock(mutex_);
  const double drawn_s = options_.delay_seed == 0 ? 0 : draw_delay_s();
  moving_.push_back(
      {&group, &rendezvous, Deadline::after_s(options_.operation_s + drawn_s).time_point()});
  changed_.notify_all();
}

void ThreadWorldState::mover_main() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto next =
        std::min_element(moving_.begin(), moving_.end(),
                         [](const Moving& a, const Moving& b) { return a.due < b.due; });
    if (next == moving_.end()) {
      if (stop_) return;
      changed_.wait(lock);
    } else if (next->due > std::chrono::steady_clock::now()) {
      changed_.wait_until(lock, Deadline::TimePoint(next->due));
    } else {
      const Moving moving = *next;
      moving_.erase(next);
      lock.unlock();
      moving.group->perform(*moving.rendezvous);
      lock.lock();
    }
  }
}

}  // namespace leasehold
