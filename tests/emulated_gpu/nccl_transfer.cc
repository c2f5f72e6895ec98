// Inside the emulated NCCL: how operations move data. Everything is messages through mailboxes,
// which all advance in one loop until they are through or the communicator is aborted.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <sched.h>

#include "tests/emulated_gpu/nccl_communicator.h"

namespace leasehold::emulation {

namespace {

struct Transfer {
  int peer = 0;
  bool is_send = false;
  char* data = nullptr;
  NcclHeader header;
  uint64_t moved = 0;
  uint64_t last_piece = 0;  // of a send: how many pieces the box has had with it
  bool done = false;
};

class Transfers {
 public:
  explicit Transfers(ncclComm& comm) : comm_(comm) {}

  void send(int peer, const void* data, const NcclHeader& header) {
    add(peer, true, const_cast<char*>(static_cast<const char*>(data)), header);
  }
  void receive(int peer, void* data, const NcclHeader& header) {
    add(peer, false, static_cast<char*>(data), header);
  }
  // False when the communicator was aborted before they were through.
  bool run();

 private:
  void add(int peer, bool is_send, char* data, const NcclHeader& header) {
    if (header.bytes == 0) return;
    transfers_[static_cast<size_t>(num_++)] = {peer, is_send, data, header, 0, 0, false};
  }
  bool advance(Transfer& transfer);
  bool advance_send(Transfer& transfer);
  bool advance_receive(Transfer& transfer);
  void look_around();

  ncclComm& comm_;
  std::array<Transfer, NcclCall::kMaxParts> transfers_;
  int num_ = 0;
  bool stuck_ = false;  // for ever: ranks disagree
};

void pause(int idle) {
  constexpr int kYields = 50;
  if (idle < kYields) {
    ::sched_yield();
    return;
  }
  const timespec wait{0, idle < 10 * kYields ? 50'000 : 300'000};
  ::nanosleep(&wait, nullptr);
}

bool Transfers::run() {
  int idle = 0;
  while (true) {
    if (comm_.aborted) return false;
    bool moved = false, done = true;
    for (int i = 0; i < num_; ++i) {
      Transfer& transfer = transfers_[static_cast<size_t>(i)];
      if (transfer.done) continue;
      done = false;
      // Messages of one direction between two ranks go one after the other.
      bool first = true;
      for (int before = 0; before < i; ++before) {
        const Transfer& other = transfers_[static_cast<size_t>(before)];
        first = first &&
                (other.done || other.peer != transfer.peer || other.is_send != transfer.is_send);
      }
      if (first && !stuck_) moved = advance(transfer) || moved;
    }
    if (done) return true;
    idle = moved ? 0 : idle + 1;
    constexpr int kLookEvery = 32;
    if (idle % kLookEvery == kLookEvery - 1) look_around();
    if (!moved) pause(idle);
  }
}

bool Transfers::advance(Transfer& transfer) {
  return transfer.is_send ? advance_send(transfer) : advance_receive(transfer);
}

bool Transfers::advance_send(Transfer& transfer) {
  NcclMailbox& box = comm_.membership.segment().boxes[comm_.rank][transfer.peer];
  bool moved = false;
  while (transfer.moved < transfer.header.bytes) {
    const uint64_t written = box.written.load(std::memory_order_relaxed);
    if (written - box.taken.load(std::memory_order_acquire) == NcclMailbox::kPieces) return moved;
    NcclMailbox::Piece& piece = box.pieces[written % NcclMailbox::kPieces];
    piece.header = transfer.header;
    piece.bytes =
        std::min<uint64_t>(NcclMailbox::kPieceBytes, transfer.header.bytes - transfer.moved);
    std::memcpy(piece.data, transfer.data + transfer.moved, piece.bytes);
    transfer.moved += piece.bytes;
    transfer.last_piece = written + 1;
    box.written.store(written + 1, std::memory_order_release);
    moved = true;
  }
  transfer.done = box.taken.load(std::memory_order_acquire) >= transfer.last_piece;
  return moved || transfer.done;
}

bool Transfers::advance_receive(Transfer& transfer) {
  NcclMailbox& box = comm_.membership.segment().boxes[transfer.peer][comm_.rank];
  bool moved = false;
  while (transfer.moved < transfer.header.bytes) {
    const uint64_t taken = box.taken.load(std::memory_order_relaxed);
    if (taken == box.written.load(std::memory_order_acquire)) return moved;
    const NcclMailbox::Piece& piece = box.pieces[taken % NcclMailbox::kPieces];
    if (piece.header != transfer.header) {
      char text[200];
      std::snprintf(text, sizeof text,
                    "%s: rank %d expects operation %d of %llu bytes from rank %d, which is in "
                    "operation %d of %llu bytes",
                    comm_.name.c_str(), comm_.rank, transfer.header.kind,
                    static_cast<unsigned long long>(transfer.header.bytes), transfer.peer,
                    piece.header.kind, static_cast<unsigned long long>(piece.header.bytes));
      comm_.membership.fail(ncclInvalidUsage, text);
      stuck_ = true;
      return false;
    }
    std::memcpy(transfer.data + transfer.moved, piece.data, piece.bytes);
    transfer.moved += piece.bytes;
    box.taken.store(taken + 1, std::memory_order_release);
    moved = true;
  }
  transfer.done = true;
  return true;
}

void Transfers::look_around() {
  for (int i = 0; i < num_; ++i) {
    const Transfer& transfer = transfers_[static_cast<size_t>(i)];
    if (!transfer.done && comm_.membership.is_dead(transfer.peer)) {
      char text[120];
      std::snprintf(text, sizeof text, "%s: the process of rank %d is gone", comm_.name.c_str(),
                    transfer.peer);
      comm_.membership.fail(ncclRemoteError, text);
    }
  }
}

template <typename T>
T combine(ncclRedOp_t operation, T a, T b) {
  if (operation == ncclSum) return static_cast<T>(a + b);
  if constexpr (std::is_floating_point_v<T>) {
    return operation == ncclMax ? std::fmax(a, b) : std::fmin(a, b);
  } else {
    return operation == ncclMax ? std::max(a, b) : std::min(a, b);
  }
}

template <typename T>
void combine_into(ncclRedOp_t operation, void* sum, const void* other, size_t count) {
  T* s = static_cast<T*>(sum);
  const T* o = static_cast<const T*>(other);
  for (size_t i = 0; i < count; ++i) s[i] = combine(operation, s[i], o[i]);
}

void combine_into(const NcclPart& part, void* sum, const void* other, size_t count) {
  switch (part.type) {
    case ncclFloat32:
      return combine_into<float>(part.operation, sum, other, count);
    case ncclFloat64:
      return combine_into<double>(part.operation, sum, other, count);
    case ncclInt32:
      return combine_into<int32_t>(part.operation, sum, other, count);
    case ncclInt64:
      return combine_into<int64_t>(part.operation, sum, other, count);
    default:
      report("NCCL: no arithmetic on type %d", static_cast<int>(part.type));
      std::abort();
  }
}

NcclHeader header_of(const NcclPart& part, size_t count) {
  const bool message = part.kind == NcclKind::kSend || part.kind == NcclKind::kRecv;
  const bool reduces = part.kind == NcclKind::kAllReduce || part.kind == NcclKind::kReduceScatter;
  return {.kind = static_cast<int32_t>(message ? NcclKind::kSend : part.kind),
          .type = part.type,
          .operation = reduces ? part.operation : -1,
          .root = part.kind == NcclKind::kBroadcast ? part.peer : -1,
          .bytes = count * size_of_nccl_type(part.type)};
}

// A collective of one rank: which elements of the whole a rank answers for.
class Collective {
 public:
  Collective(ncclComm& comm, const NcclPart& part)
      : comm_(comm), part_(part), element_(size_of_nccl_type(part.type)) {}

  bool run() {
    switch (part_.kind) {
      case NcclKind::kAllReduce:
        return reduce_own_part(part_.output, 0) && gather(part_.output);
      case NcclKind::kReduceScatter:
        return reduce_own_part(part_.output, begin_of(comm_.rank));
      case NcclKind::kAllGather: {
        char* own = at(part_.output, begin_of(comm_.rank));
        if (own != part_.input) std::memmove(own, part_.input, part_.count * element_);
        return gather(part_.output);
      }
      case NcclKind::kBroadcast:
        return broadcast();
      default:
        return true;
    }
  }

 private:
  size_t begin_of(int rank) const {
    const auto r = static_cast<size_t>(rank);
    return part_.kind == NcclKind::kAllReduce ? part_.count * r / static_cast<size_t>(comm_.size)
                                              : part_.count * r;
  }
  size_t count_of(int rank) const { return begin_of(rank + 1) - begin_of(rank); }
  char* at(const void* base, size_t element) const {
    return const_cast<char*>(static_cast<const char*>(base)) + element * element_;
  }

  // output's element `output_begin + i` of the own part is element i of the whole.
  bool reduce_own_part(void* output, size_t output_begin) {
    const size_t own_begin = begin_of(comm_.rank), own_count = count_of(comm_.rank);
    const size_t own_bytes = own_count * element_;
    char* parts = static_cast<char*>(std::malloc(own_bytes * static_cast<size_t>(comm_.size) + 1));
    Transfers transfers(comm_);
    for (int peer = 0; peer < comm_.size; ++peer) {
      char* place = parts + own_bytes * static_cast<size_t>(peer);
      if (peer == comm_.rank) {
        std::memcpy(place, at(part_.input, own_begin), own_bytes);
        continue;
      }
      transfers.send(peer, at(part_.input, begin_of(peer)), header_of(part_, count_of(peer)));
      transfers.receive(peer, place, header_of(part_, own_count));
    }
    const bool through = transfers.run();
    if (through) {
      // From the last rank to the first: not the order in which Leasehold adds.
      char* sum = parts + own_bytes * static_cast<size_t>(comm_.size - 1);
      for (int rank = comm_.size - 2; rank >= 0; --rank) {
        combine_into(part_, sum, parts + own_bytes * static_cast<size_t>(rank), own_count);
      }
      std::memcpy(at(output, own_begin - output_begin), sum, own_bytes);
    }
    std::free(parts);
    return through;
  }

  bool gather(void* output) {
    Transfers transfers(comm_);
    for (int peer = 0; peer < comm_.size; ++peer) {
      if (peer == comm_.rank) continue;
      transfers.send(peer, at(output, begin_of(comm_.rank)),
                     header_of(part_, count_of(comm_.rank)));
      transfers.receive(peer, at(output, begin_of(peer)), header_of(part_, count_of(peer)));
    }
    return transfers.run();
  }

  bool broadcast() {
    Transfers transfers(comm_);
    const NcclHeader header = header_of(part_, part_.count);
    if (comm_.rank != part_.peer) {
      transfers.receive(part_.peer, part_.output, header);
      return transfers.run();
    }
    if (part_.output != part_.input) std::memmove(part_.output, part_.input, header.bytes);
    for (int peer = 0; peer < comm_.size; ++peer) {
      if (peer != comm_.rank) transfers.send(peer, part_.input, header);
    }
    return transfers.run();
  }

  ncclComm& comm_;
  const NcclPart& part_;
  const size_t element_;
};

}  // namespace

void run_nccl_call(ncclComm& comm, const NcclCall& call) {
  Transfers messages(comm);
  for (int i = 0; i < call.num_parts; ++i) {
    const NcclPart& part = call.parts[static_cast<size_t>(i)];
    if (part.kind == NcclKind::kSend) {
      messages.send(part.peer, part.input, header_of(part, part.count));
    } else if (part.kind == NcclKind::kRecv) {
      messages.receive(part.peer, part.output, header_of(part, part.count));
    } else if (!Collective(comm, part).run()) {
      return;
    }
  }
  (void)messages.run();
}

}  // namespace leasehold::emulation
