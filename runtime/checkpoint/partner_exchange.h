// Copies of snapshots travel between partners (partners.h): every rank sends its own to the rank
// that keeps its copy, and keeps those of the ranks that chose it. Runs on a thread and a
// communicator of its own, beside the step.
//
// A snapshot travels in chunks. The receiver says when it is ready for the next one, so a chunk is
// sent only where it is awaited: none is ever long under way, each has the group's timeout for
// itself, and a group that is aborted needs to wait for no more than a chunk.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/checkpoint/snapshot_slot.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

// Sizes of one rank's snapshots.
struct SnapshotSize {
  int64_t slot_bytes = 0;
  int64_t description_bytes = 0;  // an upper limit for its descriptions
};

struct PartnerExchangeOptions {
  SlotDirectory directory;
  std::string prefix;  // lineage_prefix
  std::string node;
  int64_t generation = 0;
  std::vector<int> partners;        // by rank; -1: none
  std::vector<SnapshotSize> sizes;  // by rank
  double timeout_s = 300;           // of each operation
  int64_t chunk_bytes = int64_t{4} << 20;
};

class PartnerExchange {
 public:
  // Reserves nothing yet. `group` has the ranks of the world.
  PartnerExchange(std::unique_ptr<Communicator> group, std::unique_ptr<Stream> stream,
                  PartnerExchangeOptions options);

  // Local. Reserves slots until each rank whose copies are kept has `count`, or none more. Errors
  // as SnapshotSlot::reserve.
  Status reserve(int64_t count);
  // Local. Gives back the slots beyond `count` of each.
  void release(int64_t count);

  Communicator& group() { return *group_; }
  Stream& stream() { return *stream_; }
  // Replaces a group that was aborted. While nothing is under way.
  void renew(std::unique_ptr<Communicator> group) { group_ = std::move(group); }
  bool has_partner() const;
  // Bytes sent and received so far; from any thread.
  int64_t moved_bytes() const { return moved_bytes_; }

  // Collective. `description` is that of the snapshot of `step` in `own`; empty when there is none
  // because this rank failed. A slot that holds `committed_step` is not touched. Ok when the
  // partner has all of it; kUnavailable when a peer is lost or late (the group is aborted then,
  // until renew()); else the reason why there is no copy.
  Status exchange(const SnapshotSlot& own, const std::string& description, int64_t step,
                  int64_t committed_step);

 private:
  struct Kept {  // for one origin
    int rank = 0;
    std::vector<std::unique_ptr<SnapshotSlot>> slots;
    std::vector<int64_t> steps;
    std::string description;
    uint8_t answer = 0;
    size_t target = 0;
  };
  struct Round;
  Status transfer(const SnapshotSlot& own, std::string& description, int64_t committed_step);
  void begin_round(int64_t index, Round& round);
  Status send_round(int64_t index, const SnapshotSlot& own, std::string& description, Round& round);
  Status end_round(Round& round);
  Status answer_all(uint8_t& answer);
  Status wait(const Work& work);
  // The description is the first chunk.
  int64_t chunks_of(int rank) const;
  Tensor chunk(const SnapshotSlot& slot, std::string& description, int rank, int64_t index) const;
  int partner() const { return options_.partners[static_cast<size_t>(group_->rank())]; }

  PartnerExchangeOptions options_;
  std::unique_ptr<Communicator> group_;
  std::unique_ptr<Stream> stream_;
  std::vector<Kept> kept_;
  std::atomic<int64_t> moved_bytes_{0};
};

}  // namespace leasehold
