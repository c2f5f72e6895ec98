#include "runtime/checkpoint/memory_tier.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include "runtime/base/clock.h"
#include "runtime/checkpoint/model_texts.h"

namespace leasehold {

namespace {

// Copied and digested while it is in the cache.
constexpr int64_t kCopyBytes = int64_t{256} << 10;

double thread_cpu_s() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Digest128 copy_and_digest(char* to, const char* from, int64_t size_bytes) {
  Digester digester;
  for (int64_t done = 0; done < size_bytes; done += kCopyBytes) {
    const auto count = static_cast<size_t>(std::min(kCopyBytes, size_bytes - done));
    std::memcpy(to + done, from + done, count);
    digester.update(to + done, count);
  }
  return digester.finish();
}

}  // namespace

Result<std::unique_ptr<MemoryTier>> MemoryTier::create(MemoryTierOptions options,
                                                       std::vector<StateSlice> slices,
                                                       const CheckpointInfo& like,
                                                       Communicator& world) {
  LEASEHOLD_ASSIGN_OR_RETURN(ShardPlan plan, ShardPlan::create(slices));
  std::unique_ptr<MemoryTier> tier(
      new MemoryTier(std::move(options), std::move(slices), std::move(plan)));
  tier->host_ = CpuDevice::create({});
  LEASEHOLD_RETURN_IF_ERROR(tier->set_up(like, world));
  tier->thread_ = std::thread([tier = tier.get()] { tier->thread_main(); });
  return tier;
}

MemoryTier::~MemoryTier() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (under_way_ && exchange_) {
      exchange_->group().abort(
          error(Code::kUnavailable, "the rank leaves in the middle of a snapshot"));
    }
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void MemoryTier::begin(const CheckpointInfo& info, int64_t committed_step) {
  std::lock_guard lock(mutex_);
  LEASEHOLD_CHECK(!under_way_, "the snapshot of step {} has not ended", begun_step_);
  info_ = info;
  committed_step_ = committed_step;
  // The oldest of those that are free.
  growing_ = false;
  int best = -1;
  for (int i = 0; i < static_cast<int>(slots_.size()); ++i) {
    const int64_t step = slots_[static_cast<size_t>(i)].step;
    if (i == pinned_ || (step >= 0 && step == committed_step)) continue;
    if (best < 0 || step < slots_[static_cast<size_t>(best)].step) best = i;
  }
  LEASEHOLD_CHECK(best >= 0, "no slot is free for the snapshot of step {}", info.step);
  target_ = static_cast<size_t>(best);
  slots_[target_].step = -1;
  begun_step_ = info.step;
  under_way_ = true;
  captured_ = false;
  waited_s_ = 0;
  changed_.notify_all();
}

Status MemoryTier::wait_captured(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (captured_) return ok_status();
  const double begin_s = system_clock().steady_s();
  const bool done = changed_.wait_until(lock, deadline.time_point(), [this] { return captured_; });
  waited_s_ += system_clock().steady_s() - begin_s;
  if (done) return ok_status();
  return error(Code::kUnavailable, "the snapshot of step {} does not get on", begun_step_);
}

Status MemoryTier::wait_ended(double patience_s) {
  std::unique_lock lock(mutex_);
  while (under_way_) {
    const int64_t moved = exchange_->moved_bytes();
    const bool done = changed_.wait_until(lock, Deadline::after_s(patience_s).time_point(),
                                          [this] { return !under_way_; });
    if (done || exchange_->moved_bytes() != moved) continue;
    return error(Code::kUnavailable, "the snapshot of step {} does not get on", begun_step_);
  }
  return ok_status();
}

bool MemoryTier::can_begin(int64_t committed_step, int64_t fewest_slots) const {
  std::lock_guard lock(mutex_);
  int64_t held = 0;
  for (int i = 0; i < static_cast<int>(slots_.size()); ++i) {
    const int64_t step = slots_[static_cast<size_t>(i)].step;
    if (i == pinned_ || (step >= 0 && step == committed_step)) ++held;
  }
  return held < fewest_slots;
}

void MemoryTier::begin_growth(int64_t step) {
  std::lock_guard lock(mutex_);
  LEASEHOLD_CHECK(!under_way_, "the snapshot of step {} has not ended", begun_step_);
  begun_step_ = step;
  growing_ = under_way_ = true;
  waited_s_ = 0;
  changed_.notify_all();
}

int64_t MemoryTier::num_slots() const {
  std::lock_guard lock(mutex_);
  return std::ssize(slots_);
}

bool MemoryTier::can_exchange() const {
  std::lock_guard lock(mutex_);
  return can_exchange_;
}

Status MemoryTier::renew(Communicator& world) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto group, world.split(0, rank_, "snapshots"));
  std::lock_guard lock(mutex_);
  LEASEHOLD_CHECK(!under_way_, "the snapshot of step {} has not ended", begun_step_);
  exchange_->renew(std::move(group));
  can_exchange_ = true;
  return ok_status();
}

int64_t MemoryTier::ended_step() const {
  std::lock_guard lock(mutex_);
  return ended_step_;
}

int64_t MemoryTier::captured_step() const {
  std::lock_guard lock(mutex_);
  return captured_step_;
}

int64_t MemoryTier::whole_step() const {
  std::lock_guard lock(mutex_);
  return whole_step_;
}

double MemoryTier::cost_s() const {
  std::lock_guard lock(mutex_);
  return thread_s_ + waited_s_;
}

Status MemoryTier::take_failure() {
  std::lock_guard lock(mutex_);
  return std::exchange(failure_, ok_status());
}

std::optional<std::vector<StateSlice>> MemoryTier::pin(int64_t step) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].step != step) continue;
    pinned_ = static_cast<int>(i);
    return plan_.slices_inside(slices_, slots_[i].memory->data());
  }
  return std::nullopt;
}

void MemoryTier::unpin() {
  std::lock_guard lock(mutex_);
  pinned_ = -1;
}

void MemoryTier::thread_main() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || under_way_; });
    if (stop_) return;
    const bool growing = growing_;
    lock.unlock();
    growing ? grow() : take_snapshot();
    lock.lock();
    ended_step_ = begun_step_;
    under_way_ = false;
    changed_.notify_all();
  }
}

Status MemoryTier::capture(Slot& slot, std::string& description) {
  LEASEHOLD_RETURN_IF_ERROR(slot.memory->invalidate());
  LEASEHOLD_RETURN_IF_ERROR(options_.wait_for_slices());
  std::vector<Digest128> digests;
  digests.reserve(plan_.pieces().size());
  for (const PlannedPiece& piece : plan_.pieces()) {
    digests.push_back(copy_and_digest(slot.memory->data() + piece.offset,
                                      reinterpret_cast<const char*>(plan_.data_of(piece, slices_)),
                                      piece.size_bytes()));
  }
  SnapshotDescription snapshot{.info = without_texts(info_),
                               .texts = digest_of_texts(info_),
                               .world_size = world_size_,
                               .rank = rank_,
                               .shard = plan_.describe(shard_name(rank_, world_size_), digests)};
  {
    std::lock_guard lock(mutex_);
    captured_ = true;
    changed_.notify_all();
  }
  LEASEHOLD_ASSIGN_OR_RETURN(description, encode_snapshot(snapshot));
  description = seal_snapshot(description, options_.key);
  if (std::ssize(description) > description_bytes_) {
    return error(Code::kStorage,
                 "its description takes {} bytes, {} of them for the algorithms of matrix "
                 "products, and {} are reserved",
                 description.size(), info_.algorithms.size(), description_bytes_);
  }
  return slot.memory->publish(description);
}

void MemoryTier::take_snapshot() {
  const double begin_s = thread_cpu_s();
  Slot& slot = slots_[target_];  // slots_ grows only while no snapshot is taken
  std::string description;
  Status captured = capture(slot, description);
  if (!captured.ok()) description.clear();
  const Status copied = exchange_->exchange(*slot.memory, description, info_.step, committed_step_);
  std::lock_guard lock(mutex_);
  captured_ = true;
  if (captured.ok()) slot.step = captured_step_ = info_.step;
  if (captured.ok() && copied.ok()) whole_step_ = info_.step;
  failure_ = captured.ok() ? copied : captured;
  can_exchange_ = exchange_->group().health().ok();
  thread_s_ = thread_cpu_s() - begin_s;
}

}  // namespace leasehold
