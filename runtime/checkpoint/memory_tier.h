// The memory tier: after a step, this rank's part of the state goes to the node's shared memory,
// which outlives the process, and a copy to a partner on another node, beside the next step's
// computation.
//
//   begin(info) ... the next step's gradients ... wait_captured() ... the optimizer writes
//
// A snapshot is committed once it is whole here and at the partner on every rank; the ranks find
// that out from each other's whole_step() (they exchange it with every step's scalars). Of this
// rank's three slots one may be pinned while files are written from it, one holds the committed
// snapshot, and one takes the next.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/checkpoint/checkpoint_info.h"
#include "runtime/checkpoint/partner_exchange.h"
#include "runtime/checkpoint/shard_plan.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

struct MemoryTierOptions {
  std::string directory = kSharedMemory;
  std::string run_dir;
  std::string node;
  int64_t generation = 0;
  std::vector<int> partners;  // by rank of the world; -1: none
  double timeout_s = 300;
  // Called on the tier's thread before it reads the slices of a snapshot that has begun.
  std::function<Status()> wait_for_slices = [] { return ok_status(); };
};

class MemoryTier {
 public:
  // Of a description, for algorithms of products that are met after the first step began.
  static constexpr int64_t kAlgorithmBytes = int64_t{128} << 10;

  // Collective. Reserves all memory. `slices` are views of the state as it changes from step to
  // step. `like` gives the size of what descriptions hold. kBadConfig when the shared memory does
  // not suffice. A snapshot whose description outgrows that size (kAlgorithmBytes more where there
  // are algorithms) fails and says so.
  static Result<std::unique_ptr<MemoryTier>> create(MemoryTierOptions options,
                                                    std::vector<StateSlice> slices,
                                                    const CheckpointInfo& like,
                                                    Communicator& world);
  ~MemoryTier();
  MemoryTier(const MemoryTier&) = delete;
  MemoryTier& operator=(const MemoryTier&) = delete;

  // All ranks begin the same snapshots; the last one must have ended. The slices' memory may not
  // change until wait_captured() returned.
  void begin(const CheckpointInfo& info, int64_t committed_step);
  // Ok when the newest snapshot's values are copied (or could not be): the slices may change.
  Status wait_captured(Deadline deadline);
  // Waits until the newest snapshot ended, one way or the other.
  Status wait_ended(Deadline deadline);

  int64_t ended_step() const;     // the newest step whose snapshot came to an end, whole or not; -1
  int64_t captured_step() const;  // the newest step whose snapshot was taken here; -1
  int64_t whole_step() const;     // the newest step that is whole here and at the partner; -1
  bool has_partner() const { return exchange_->has_partner(); }
  // Seconds of the newest snapshot: processor time of the tier's thread and the caller's waiting.
  double cost_s() const;
  // Why the newest snapshot is not whole, once; ok otherwise.
  Status take_failure();

  // The state of `step`, which must be this rank's newest snapshot, ended and copied, as slices of
  // shared memory that stay as they are until unpin(). Nothing when it could not be captured.
  std::optional<std::vector<StateSlice>> pin(int64_t step);
  void unpin();

 private:
  struct Slot {
    std::unique_ptr<SnapshotSlot> memory;
    int64_t step = -1;
  };
  MemoryTier(MemoryTierOptions options, std::vector<StateSlice> slices, ShardPlan plan)
      : options_(std::move(options)), slices_(std::move(slices)), plan_(std::move(plan)) {}
  Status reserve(const CheckpointInfo& like, Communicator& world);
  void thread_main();
  void take_snapshot();
  Status capture(Slot& slot, std::string& description);

  MemoryTierOptions options_;
  std::vector<StateSlice> slices_;
  ShardPlan plan_;
  int64_t description_bytes_ = 0;  // reserved
  int world_size_ = 1;
  int rank_ = 0;
  std::unique_ptr<CpuDevice> host_;
  std::unique_ptr<PartnerExchange> exchange_;
  std::vector<Slot> slots_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  CheckpointInfo info_;  // of the snapshot under way
  size_t target_ = 0;
  int64_t committed_step_ = -1;
  bool under_way_ = false;
  bool captured_ = true;
  bool stop_ = false;
  int64_t begun_step_ = -1, ended_step_ = -1, captured_step_ = -1, whole_step_ = -1;
  int pinned_ = -1;
  double thread_s_ = 0, waited_s_ = 0;
  Status failure_;
  std::thread thread_;
};

}  // namespace leasehold
