// Inside the emulated NCCL: the memory that the ranks of a communicator share, and what they know
// of each other through it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <nccl.h>

namespace leasehold::emulation {

constexpr int kMaxNcclRanks = 16;

// What a message is part of: the receiver compares it with what it expects.
struct NcclHeader {
  int32_t kind = 0;
  int32_t type = 0;
  int32_t operation = -1;
  int32_t root = -1;
  uint64_t bytes = 0;
  bool operator==(const NcclHeader&) const = default;
};

// A message under way from one rank to another, a piece at a time.
struct NcclMailbox {
  static constexpr size_t kPieceBytes = size_t{16} << 10;
  static constexpr uint64_t kPieces = 2;
  struct Piece {
    NcclHeader header;
    uint64_t bytes;
    char data[kPieceBytes];
  };
  std::atomic<uint64_t> written, taken;  // pieces so far
  Piece pieces[kPieces];
};

enum class NcclStage : int32_t { kAbsent, kHere, kFinalizing, kLeft };

struct NcclRankState {
  std::atomic<NcclStage> stage;
  int32_t device;
  char node[64];
  std::atomic<bool> met_all;             // it has issued a collective
  std::atomic<bool> met[kMaxNcclRanks];  // ... a message to or from that rank
};

struct NcclSegment {
  uint64_t nonce;
  std::atomic<int32_t> num_ranks;   // 0: nobody came yet
  std::atomic<int32_t> num_joined;  // ever
  std::atomic<int32_t> error;       // ncclResult_t, of all ranks; the first one stays
  char error_text[240];
  NcclRankState ranks[kMaxNcclRanks];
  NcclMailbox boxes[kMaxNcclRanks][kMaxNcclRanks];  // [from][to]; pages appear as they are used
};

// An id for a new segment, which lives while this process or one that joined it does.
ncclResult_t make_nccl_segment(ncclUniqueId* id);

// A rank's hold on a segment.
class NcclMembership {
 public:
  NcclMembership() = default;
  ~NcclMembership();
  NcclMembership(const NcclMembership&) = delete;
  NcclMembership& operator=(const NcclMembership&) = delete;

  ncclResult_t join(const ncclUniqueId& id, int num_ranks, int rank, int device);
  NcclSegment& segment() const { return *segment_; }
  NcclRankState& state(int rank) const { return segment_->ranks[rank]; }
  bool all_joined() const { return segment_->num_joined == segment_->num_ranks; }
  // The rank came, did not leave, and its process is gone.
  bool is_dead(int rank) const;
  // Every other rank is at least at `stage`, or dead.
  bool others_reached(NcclStage stage) const;
  // "" or which two ranks share a device.
  const char* find_shared_device(char* text, size_t text_bytes) const;
  // An error of all ranks.
  void fail(ncclResult_t error, const char* text) const;

 private:
  NcclSegment* segment_ = nullptr;
  int file_ = -1;
  int rank_ = 0;
  int num_ranks_ = 0;
};

}  // namespace leasehold::emulation
