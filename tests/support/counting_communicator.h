// Counts the traffic of a communicator: calls, and bytes that the rank sends, by the name of the
// group and the kind of operation. It counts the bytes that others must receive, not the way in
// which an implementation sends them. For n bytes on each of P ranks, an all_gather sends (P - 1)
// n, an all_reduce 2 (P - 1)/P n, a reduce_scatter (input P n) (P - 1) n, an all_to_all the bytes
// for other ranks, and a broadcast (P - 1) n from its root.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace leasehold {

enum class CountedOperation {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kAllToAll,
  kBroadcast,
  kSend,
  kReceive,
};

// The counts of one rank, used only by its thread.
class CommunicationCounts {
 public:
  struct Count {
    int64_t calls = 0;
    int64_t bytes_sent = 0;
  };
  using ByOperation = std::array<Count, 7>;

  Count of(const std::string& group, CountedOperation operation) const;
  Count of(const std::string& group) const;  // all kinds
  void reset() { groups_.clear(); }
  // Adds one call. For the communicators that count.
  void add(const std::string& group, CountedOperation operation, int64_t bytes_sent);

 private:
  std::map<std::string, ByOperation> groups_;
};

// Returns a communicator that counts. `inner` and `counts` must outlive it. Groups made by split()
// count too.
std::unique_ptr<Communicator> create_counting_communicator(Communicator& inner,
                                                           CommunicationCounts& counts);

}  // namespace leasehold
