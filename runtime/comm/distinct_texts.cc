#include "runtime/comm/distinct_texts.h"

#include <set>
#include <string_view>

#include "runtime/base/digest.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// Returns the lowest rank of each digest, ascending.
std::vector<int> lowest_ranks(const std::vector<std::string>& digests) {
  std::vector<int> ranks;
  std::set<std::string_view> known;
  for (size_t rank = 0; rank < digests.size(); ++rank) {
    if (known.insert(digests[rank]).second) ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

}  // namespace

Result<std::vector<DistinctText>> distinct_texts(Communicator& group, Stream& stream,
                                                 const std::string& text, const std::string& node,
                                                 Deadline deadline) {
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<std::string> digests,
      all_gather_bytes(group, stream, digest128(text.data(), text.size()).to_hex(), deadline));
  std::vector<DistinctText> texts;
  for (const int rank : lowest_ranks(digests)) {
    DistinctText& of = texts.emplace_back(DistinctText{.rank = rank});
    LEASEHOLD_ASSIGN_OR_RETURN(of.text, broadcast_bytes(group, stream, text, rank, deadline));
    LEASEHOLD_ASSIGN_OR_RETURN(of.node, broadcast_bytes(group, stream, node, rank, deadline));
  }
  return texts;
}

}  // namespace leasehold
