// The memory tier: after a step, this rank's part of the state goes to the node's shared memory,
// which outlives the process, and a copy to a partner on another node, beside the next step's
// computation.
//
//   begin(info) ... the next step's gradients ... wait_captured() ... the optimizer writes
//
// A snapshot is committed once it is whole here and at the partner on every rank; the ranks find
// that out from each other's whole_step() (they exchange it with every step's scalars). Of this
// rank's three slots one may be pinned while files are written from it, one holds the committed
// snapshot, and one takes the next. With fewer slots (snapshot_room.h) the next one waits.
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
#include "runtime/checkpoint/snapshot_description.h"
#include "runtime/checkpoint/snapshot_room.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

struct MemoryTierOptions {
  SlotDirectory directory;
  std::string lineage;  // of the run: its slots are named by it
  SecretKey key;        // of the run: it seals descriptions
  // Other lineages whose slots are the run's, too (of a fork: the one that it left).
  std::vector<std::string> older_lineages;
  std::vector<std::string> nodes;  // by rank of the world
  int64_t generation = 0;
  // The state was restored from slots of an older generation: they stay until this one has
  // committed a snapshot.
  bool from_memory = false;
  // A node that is too small for all slots is an error; else there are fewer, or none.
  bool must_fit = false;
  std::vector<int> partners;  // by rank of the world; -1: none
  double timeout_s = 300;
  int64_t chunk_bytes = int64_t{4} << 20;  // of what travels to partners
  // Called on the tier's thread before it reads the slices of a snapshot that has begun.
  std::function<Status()> wait_for_slices = [] { return ok_status(); };
};

class MemoryTier {
 public:
  // Of a description, for algorithms of products that are met after the first step began.
  static constexpr int64_t kAlgorithmBytes = int64_t{128} << 10;
  // Room in rank 0's description for lines of the log (MetricsLog::kMaxCarriedBytes, as JSON).
  static constexpr int64_t kLinesBytes = int64_t{96} << 10;

  // Collective. Reserves memory as plan_room() says. `slices` are views of the state as it changes
  // from step to step. `like` gives the size of what descriptions hold. A snapshot whose
  // description outgrows that size (by kAlgorithmBytes where there are algorithms, by kLinesBytes
  // on rank 0) fails and says so. Where the shared memory of a node does not suffice nothing stays
  // reserved on any, and the error names the node, the directory, what is needed and the way out:
  // kBadConfig if options.must_fit, else kStorage.
  static Result<std::unique_ptr<MemoryTier>> create(MemoryTierOptions options,
                                                    std::vector<StateSlice> slices,
                                                    const CheckpointInfo& like,
                                                    Communicator& world);
  ~MemoryTier();
  MemoryTier(const MemoryTier&) = delete;
  MemoryTier& operator=(const MemoryTier&) = delete;

  // All ranks begin the same snapshots; the last one must have ended. The slices' memory may not
  // change until wait_captured() returned. Only where can_begin(): with the same committed_step and
  // the fewest slots that any rank has.
  void begin(const CheckpointInfo& info, int64_t committed_step);
  bool can_begin(int64_t committed_step, int64_t fewest_slots) const;
  // All ranks, once a snapshot of this generation is committed and the last one has ended: gives
  // back what older generations left and reserves the other slots. Ends as the snapshot of `step`
  // would, which is the present step, and is none.
  void begin_growth(int64_t step);
  // Own slots of this rank.
  int64_t num_slots() const;
  // Ok when the newest snapshot's values are copied (or could not be): the slices may change.
  Status wait_captured(Deadline deadline);
  // Waits until the newest snapshot ended, one way or the other. kUnavailable when nothing of it
  // moved for that long.
  Status wait_ended(double patience_s);
  // False once the exchange with the partners has failed: no snapshot is whole any more until
  // renew().
  bool can_exchange() const;
  // Collective over the world that it was created with, while no snapshot is under way.
  Status renew(Communicator& world);

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
  Status set_up(const CheckpointInfo& like, Communicator& world);
  Status set_description_size(const CheckpointInfo& like);
  // Collective. By memory, in the order of their first ranks.
  Result<std::vector<NodeRoom>> gather_room(const std::vector<SnapshotSize>& sizes,
                                            Communicator& world, Stream& stream);
  Status no_room(const std::string& why) const;
  // Ok where this rank's memory suffices.
  Status refusal_of(const std::vector<NodeRoom>& rooms) const;
  // Collective. All ranks have the slots of that level, or none more than before.
  Status reserve(SlotLevel level, Communicator& group, Stream& stream);
  Status reserve_own(int64_t count);
  bool is_older(const SlotName& slot) const;
  Result<int64_t> size_of_older() const;
  Status remove_older() const;
  void grow();
  const std::string& node() const { return options_.nodes[static_cast<size_t>(rank_)]; }
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

  size_t own_room_ = 0;  // where gather_room has this rank's memory
  SlotLevel level_ = SlotLevel::kNone;
  SlotLevel grows_to_ = SlotLevel::kNone;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  CheckpointInfo info_;  // of the snapshot under way
  size_t target_ = 0;
  int64_t committed_step_ = -1;
  bool under_way_ = false;
  bool growing_ = false;  // what is under way
  bool can_exchange_ = true;
  bool captured_ = true;
  bool stop_ = false;
  int64_t begun_step_ = -1, ended_step_ = -1, captured_step_ = -1, whole_step_ = -1;
  int pinned_ = -1;
  double thread_s_ = 0, waited_s_ = 0;
  Status failure_;
  std::thread thread_;
};

}  // namespace leasehold
