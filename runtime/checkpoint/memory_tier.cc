#include "runtime/checkpoint/memory_tier.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include "runtime/base/clock.h"
#include "runtime/checkpoint/snapshot_description.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr int64_t kOwnSlots = 3;
constexpr int64_t kDescriptionSlack = 4096;  // what the metrics line and the numbers may grow by
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
  LEASEHOLD_ASSIGN_OR_RETURN(const auto stream, tier->host_->create_stream("snapshot set-up"));
  const Status reserved = tier->reserve(like, world);
  LEASEHOLD_RETURN_IF_ERROR(
      agree(world, *stream, reserved, after_group_timeout(tier->options_.timeout_s)));
  tier->thread_ = std::thread([tier = tier.get()] { tier->thread_main(); });
  return tier;
}

Status MemoryTier::reserve(const CheckpointInfo& like, Communicator& world) {
  world_size_ = world.size();
  rank_ = world.rank();
  const std::string prefix = run_prefix(options_.run_dir);
  Status reserved;
  for (int64_t index = 0; index < kOwnSlots && reserved.ok(); ++index) {
    const std::string name = slot_name(prefix, {.generation = options_.generation,
                                                .rank = rank_,
                                                .is_copy = false,
                                                .index = index,
                                                .node = options_.node});
    auto slot = SnapshotSlot::reserve(options_.directory, name, plan_.size_bytes());
    reserved = slot.status();
    if (!slot.ok()) break;
    std::memcpy((*slot)->data(), plan_.header().data(), plan_.header().size());
    slots_.push_back({std::move(slot).value(), -1});
  }
  const std::vector<Digest128> blank(plan_.pieces().size());
  const auto description = encode_snapshot({.info = like,
                                            .world_size = world_size_,
                                            .rank = rank_,
                                            .shard = plan_.describe("x.safetensors", blank)});
  if (reserved.ok()) reserved = description.status();
  description_bytes_ = kDescriptionSlack + (description.ok() ? std::ssize(*description) : 0) +
                       (like.algorithms.empty() ? 0 : kAlgorithmBytes);
  // From here on all ranks go on together, whatever happened.
  LEASEHOLD_ASSIGN_OR_RETURN(auto group, world.split(0, rank_, "snapshots"));
  LEASEHOLD_ASSIGN_OR_RETURN(auto stream, host_->create_stream("snapshots"));
  auto exchange = PartnerExchange::create(std::move(group), std::move(stream),
                                          {.directory = options_.directory,
                                           .prefix = prefix,
                                           .node = options_.node,
                                           .generation = options_.generation,
                                           .partners = options_.partners,
                                           .slot_bytes = plan_.size_bytes(),
                                           .description_bytes = description_bytes_,
                                           .timeout_s = options_.timeout_s});
  LEASEHOLD_RETURN_IF_ERROR(reserved);
  LEASEHOLD_RETURN_IF_ERROR(exchange.status());
  exchange_ = std::move(exchange).value();
  return ok_status();
}

MemoryTier::~MemoryTier() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (under_way_ && exchange_) {
      exchange_->abort(error(Code::kUnavailable, "the rank leaves in the middle of a snapshot"));
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
  int best = -1;
  for (int i = 0; i < static_cast<int>(slots_.size()); ++i) {
    const int64_t step = slots_[static_cast<size_t>(i)].step;
    if (i == pinned_ || (step >= 0 && step == committed_step)) continue;
    if (best < 0 || step < slots_[static_cast<size_t>(best)].step) best = i;
  }
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

Status MemoryTier::wait_ended(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (changed_.wait_until(lock, deadline.time_point(), [this] { return !under_way_; }))
    return ok_status();
  return error(Code::kUnavailable, "the snapshot of step {} does not get on", begun_step_);
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
    lock.unlock();
    take_snapshot();
    lock.lock();
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
  SnapshotDescription snapshot{.info = info_,
                               .world_size = world_size_,
                               .rank = rank_,
                               .shard = plan_.describe(shard_name(rank_, world_size_), digests)};
  {
    std::lock_guard lock(mutex_);
    captured_ = true;
    changed_.notify_all();
  }
  LEASEHOLD_ASSIGN_OR_RETURN(description, encode_snapshot(snapshot));
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
  Slot& slot = slots_[target_];
  std::string description;
  Status captured = capture(slot, description);
  if (!captured.ok()) description.clear();
  const Status copied = exchange_->exchange(*slot.memory, description, info_.step, committed_step_);
  std::lock_guard lock(mutex_);
  captured_ = true;
  if (captured.ok()) slot.step = captured_step_ = info_.step;
  if (captured.ok() && copied.ok()) whole_step_ = info_.step;
  failure_ = captured.ok() ? copied : captured;
  ended_step_ = info_.step;
  thread_s_ = thread_cpu_s() - begin_s;
  under_way_ = false;
  changed_.notify_all();
}

}  // namespace leasehold
