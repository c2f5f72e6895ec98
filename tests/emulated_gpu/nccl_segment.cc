#include "tests/emulated_gpu/nccl_segment.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include <vector>

#include "tests/emulated_gpu/emulation.h"

namespace leasehold::emulation {

namespace {

// What an id holds.
struct IdContent {
  char mark[16];
  int32_t process, file;
  uint64_t nonce;
};
constexpr char kMark[16] = "emulated nccl 1";
static_assert(sizeof(IdContent) <= NCCL_UNIQUE_ID_BYTES);

// Segments that this process made, open until every rank has opened them for itself.
struct Made {
  int file;
  NcclSegment* segment;
};

NcclSegment* map_segment(int file) {
  void* memory = ::mmap(nullptr, sizeof(NcclSegment), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<NcclSegment*>(memory);
}

struct flock lock_of(int rank, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = rank;
  lock.l_len = 1;
  return lock;
}

}  // namespace

ncclResult_t make_nccl_segment(ncclUniqueId* id) {
  static std::mutex mutex;
  static auto* const made = new std::vector<Made>();
  std::lock_guard guard(mutex);
  std::erase_if(*made, [](const Made& entry) {
    const int wanted = entry.segment->num_ranks;
    if (wanted == 0 || entry.segment->num_joined < wanted) return false;
    ::munmap(entry.segment, sizeof(NcclSegment));
    ::close(entry.file);
    return true;
  });
  const int file = ::memfd_create("leasehold emulated nccl", MFD_CLOEXEC);
  if (file < 0 || ::ftruncate(file, sizeof(NcclSegment)) != 0) return ncclSystemError;
  NcclSegment* segment = map_segment(file);
  if (segment == nullptr) return ncclSystemError;
  if (::getrandom(&segment->nonce, sizeof segment->nonce, 0) < 0) return ncclSystemError;
  IdContent content{};
  std::memcpy(content.mark, kMark, sizeof kMark);
  content.process = ::getpid();
  content.file = file;
  content.nonce = segment->nonce;
  std::memset(id, 0, sizeof *id);
  std::memcpy(id, &content, sizeof content);
  made->push_back({file, segment});
  return ncclSuccess;
}

ncclResult_t NcclMembership::join(const ncclUniqueId& id, int num_ranks, int rank, int device) {
  IdContent content;
  std::memcpy(&content, &id, sizeof content);
  if (std::memcmp(content.mark, kMark, sizeof kMark) != 0 || num_ranks > kMaxNcclRanks ||
      num_ranks < 1 || rank < 0 || rank >= num_ranks) {
    report("ncclCommInitRankConfig: rank %d of %d (at most %d), or no id", rank, num_ranks,
           kMaxNcclRanks);
    return ncclInvalidArgument;
  }
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd/%d", content.process, content.file);
  file_ = ::open(path, O_RDWR | O_CLOEXEC);
  if (file_ < 0) return ncclSystemError;  // who made it is gone
  segment_ = map_segment(file_);
  if (segment_ == nullptr || segment_->nonce != content.nonce) return ncclSystemError;
  int32_t nobody = 0;
  if (!segment_->num_ranks.compare_exchange_strong(nobody, num_ranks) && nobody != num_ranks) {
    report("ncclCommInitRankConfig: ranks speak of %d and of %d ranks", nobody, num_ranks);
    return ncclInvalidArgument;
  }
  rank_ = rank;
  num_ranks_ = num_ranks;
  // The lock belongs to this opening of the file and goes with it, however the process ends.
  struct flock lock = lock_of(rank, F_WRLCK);
  if (::fcntl(file_, F_OFD_SETLK, &lock) != 0 || state(rank).stage != NcclStage::kAbsent) {
    report("ncclCommInitRankConfig: rank %d is there twice", rank);
    return ncclInvalidArgument;
  }
  NcclRankState& own = state(rank);
  own.device = device;
  const char* node = std::getenv("LEASEHOLD_NODE");  // virtual nodes have devices of their own
  std::snprintf(own.node, sizeof own.node, "%s", node == nullptr ? "" : node);
  own.stage = NcclStage::kHere;
  ++segment_->num_joined;
  return ncclSuccess;
}

NcclMembership::~NcclMembership() {
  if (segment_ != nullptr) ::munmap(segment_, sizeof(NcclSegment));
  if (file_ >= 0) ::close(file_);
}

bool NcclMembership::is_dead(int rank) const {
  const NcclStage stage = state(rank).stage;
  if (rank == rank_ || stage == NcclStage::kAbsent || stage == NcclStage::kLeft) return false;
  struct flock lock = lock_of(rank, F_WRLCK);
  if (::fcntl(file_, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK) return false;
  return state(rank).stage != NcclStage::kLeft;  // it may have left this moment
}

bool NcclMembership::others_reached(NcclStage stage) const {
  for (int rank = 0; rank < num_ranks_; ++rank) {
    if (rank != rank_ && state(rank).stage.load() < stage && !is_dead(rank)) return false;
  }
  return true;
}

const char* NcclMembership::find_shared_device(char* text, size_t text_bytes) const {
  for (int a = 0; a < num_ranks_; ++a) {
    for (int b = a + 1; b < num_ranks_; ++b) {
      if (state(a).device != state(b).device || std::strcmp(state(a).node, state(b).node) != 0)
        continue;
      std::snprintf(text, text_bytes, "Duplicate GPU detected: ranks %d and %d both on device %d",
                    a, b, state(a).device);
      return text;
    }
  }
  return "";
}

void NcclMembership::fail(ncclResult_t error, const char* text) const {
  int32_t none = ncclSuccess;
  if (!segment_->error.compare_exchange_strong(none, ncclInProgress)) return;
  std::snprintf(segment_->error_text, sizeof segment_->error_text, "%s", text);
  segment_->error = error;
}

}  // namespace leasehold::emulation
