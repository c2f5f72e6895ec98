// Moves the data once the ranks of an operation have met. Sums run over ranks in rank order, block
// by block.
#include <algorithm>
#include <cstring>

#include "collectives/combine.h"
#include "collectives/thread_group.h"

namespace leasehold {

namespace {

constexpr int64_t kBlockBytes = 16384;

char* at(const Tensor& tensor, int64_t element) {
  return static_cast<char*>(tensor.data()) + element * size_of(tensor.dtype());
}

void copy(void* to, const void* from, int64_t size_bytes) {
  if (to != from && size_bytes > 0) std::memmove(to, from, static_cast<size_t>(size_bytes));
}

// Sets total to elements [begin, begin + n) of all ranks' inputs, combined in rank order.
void combine_inputs(const Rendezvous& rendezvous, int64_t begin, int64_t n, void* total) {
  const OperationSummary& summary = rendezvous.parts[0]->summary;
  copy(total, at(rendezvous.parts[0]->input, begin), n * size_of(summary.dtype));
  for (size_t r = 1; r < rendezvous.parts.size(); ++r) {
    combine(summary.dtype, summary.op, total, total, at(rendezvous.parts[r]->input, begin), n);
  }
}

void all_reduce(const Rendezvous& rendezvous) {
  alignas(64) char total[kBlockBytes];
  const Tensor& first = rendezvous.parts[0]->input;
  const int64_t block = kBlockBytes / size_of(first.dtype());
  for (int64_t begin = 0; begin < first.num_elements(); begin += block) {
    const int64_t n = std::min(block, first.num_elements() - begin);
    combine_inputs(rendezvous, begin, n, total);
    for (const auto& part : rendezvous.parts)
      copy(at(part->input, begin), total, n * size_of(first.dtype()));
  }
}

void reduce_scatter(const Rendezvous& rendezvous) {
  alignas(64) char total[kBlockBytes];
  int64_t shard_begin = 0;
  for (const auto& part : rendezvous.parts) {
    const Tensor& output = part->output;
    const int64_t block = kBlockBytes / size_of(output.dtype());
    for (int64_t begin = 0; begin < output.num_elements(); begin += block) {
      const int64_t n = std::min(block, output.num_elements() - begin);
      combine_inputs(rendezvous, shard_begin + begin, n, total);
      copy(at(output, begin), total, n * size_of(output.dtype()));
    }
    shard_begin += output.num_elements();
  }
}

void all_gather(const Rendezvous& rendezvous) {
  for (const auto& to : rendezvous.parts) {
    int64_t begin = 0;
    for (const auto& from : rendezvous.parts) {
      copy(at(to->output, begin), from->input.data(), from->input.size_bytes());
      begin += from->input.num_elements();
    }
  }
}

Status all_to_all(const Rendezvous& rendezvous) {
  const size_t size = rendezvous.parts.size();
  for (size_t from = 0; from < size; ++from) {
    for (size_t to = 0; to < size; ++to) {
      const Tensor& source = rendezvous.parts[from]->sends[to];
      const Tensor& target = rendezvous.parts[to]->receives[from];
      if (source.size_bytes() != target.size_bytes()) {
        return error(Code::kInternal,
                     "all_to_all: rank {} sends {} bytes to rank {}, which expects {}", from,
                     source.size_bytes(), to, target.size_bytes());
      }
      copy(target.data(), source.data(), source.size_bytes());
    }
  }
  return ok_status();
}

void flip_bit(const Tensor& tensor) {
  if (tensor.size_bytes() > 0)
    static_cast<unsigned char*>(tensor.data())[tensor.size_bytes() / 2] ^= 0x10;
}

void flip_bits(const Rendezvous& rendezvous) {
  for (size_t r = 0; r < rendezvous.parts.size(); ++r) {
    const ThreadOperation& part = *rendezvous.parts[r];
    if (!part.flip_bit) continue;
    if (part.summary.kind == OperationKind::kSend) {
      flip_bit(rendezvous.parts[1]->output);
    } else if (part.summary.kind == OperationKind::kAllToAll) {
      flip_bit(part.receives[(r + 1) % part.receives.size()]);
    } else {
      flip_bit(part.output);
    }
  }
}

}  // namespace

Status move_data(const Rendezvous& rendezvous) {
  const ThreadOperation& first = *rendezvous.parts[0];
  switch (first.summary.kind) {
    case OperationKind::kAllReduce:
      all_reduce(rendezvous);
      break;
    case OperationKind::kAllGather:
      all_gather(rendezvous);
      break;
    case OperationKind::kReduceScatter:
      reduce_scatter(rendezvous);
      break;
    case OperationKind::kAllToAll:
      LEASEHOLD_RETURN_IF_ERROR(all_to_all(rendezvous));
      break;
    case OperationKind::kBroadcast: {
      const Tensor& source = rendezvous.parts[static_cast<size_t>(first.summary.peer)]->input;
      for (const auto& part : rendezvous.parts)
        copy(part->output.data(), source.data(), source.size_bytes());
      break;
    }
    case OperationKind::kSend:
      copy(rendezvous.parts[1]->output.data(), first.input.data(), first.input.size_bytes());
      break;
    default:
      break;
  }
  flip_bits(rendezvous);
  return ok_status();
}

}  // namespace leasehold
