// Copies of snapshots travel between partners (partners.h): every rank sends its own to the rank
// that keeps its copy, and keeps those of the ranks that chose it. Runs on a thread and a
// communicator of its own, beside the step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/checkpoint/snapshot_slot.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

struct PartnerExchangeOptions {
  std::string directory = kSharedMemory;
  std::string prefix;  // run_prefix
  std::string node;
  int64_t generation = 0;
  std::vector<int> partners;      // by rank; -1: none
  int64_t slot_bytes = 0;         // of this rank's snapshots
  int64_t description_bytes = 0;  // an upper limit for this rank's descriptions
  double timeout_s = 300;         // of each operation
};

class PartnerExchange {
 public:
  // Collective. Reserves two slots for each rank whose copies it keeps. Errors as
  // SnapshotSlot::reserve.
  static Result<std::unique_ptr<PartnerExchange>> create(std::unique_ptr<Communicator> group,
                                                         std::unique_ptr<Stream> stream,
                                                         PartnerExchangeOptions options);
  // Ends what is under way, so that the thread that waits for it comes back.
  void abort(const Status& reason) { group_->abort(reason); }
  bool has_partner() const;

  // Collective. `description` is that of the snapshot of `step` in `own`; empty when there is none
  // because this rank failed. A slot that holds `committed_step` is not touched. Ok when the
  // partner has all of it; kUnavailable when a peer is lost (there will be no further exchange);
  // else the reason why there is no copy.
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
  PartnerExchange(std::unique_ptr<Communicator> group, std::unique_ptr<Stream> stream,
                  PartnerExchangeOptions options)
      : options_(std::move(options)), group_(std::move(group)), stream_(std::move(stream)) {}
  Status reserve();
  Status transfer(const SnapshotSlot& own, std::string& description, int64_t committed_step);
  Status answer_all(uint8_t& answer);
  Status wait_all(std::vector<Work>& works);
  int partner() const { return options_.partners[static_cast<size_t>(group_->rank())]; }

  PartnerExchangeOptions options_;
  std::unique_ptr<Communicator> group_;
  std::unique_ptr<Stream> stream_;
  std::vector<Kept> kept_;
};

}  // namespace leasehold
