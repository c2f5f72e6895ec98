#include "runtime/comm/host_exchange.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "runtime/base/clock.h"
#include "runtime/base/rank_list.h"
#include "runtime/comm/gather_bytes.h"

namespace leasehold {

namespace {

// Above this limit, contributions travel to rank 0 and from there to all ranks, both by trees,
// instead of padded to the longest. all_to_all is not used: it needs a connection between any two
// ranks.
constexpr int64_t kPaddedLimitBytes = int64_t{1} << 20;

Tensor bytes(void* data, int64_t n) { return Tensor(data, DType::kU8, {n}); }
Tensor bytes(std::string& text) { return bytes(text.data(), static_cast<int64_t>(text.size())); }

Status all_gather_fixed(Communicator& group, Stream& stream, std::string& mine, std::string* all,
                        Deadline deadline) {
  all->resize(mine.size() * static_cast<size_t>(group.size()));
  return wait_or_give_up(group, group.all_gather(bytes(mine), bytes(*all), stream), deadline);
}

Result<std::vector<int64_t>> all_gather_i64(Communicator& group, Stream& stream, int64_t value,
                                            Deadline deadline) {
  std::string mine(sizeof(value), '\0'), all;
  std::memcpy(mine.data(), &value, sizeof(value));
  LEASEHOLD_RETURN_IF_ERROR(all_gather_fixed(group, stream, mine, &all, deadline));
  std::vector<int64_t> values(static_cast<size_t>(group.size()));
  std::memcpy(values.data(), all.data(), all.size());
  return values;
}

}  // namespace

Status wait_or_give_up(Communicator& group, const Work& work, Deadline deadline) {
  Status status = work.wait(deadline);
  if (!status.ok() && !work.ready()) {
    group.abort(status);
    constexpr double kLetGoS = 10;
    (void)work.wait(Deadline::after_s(kLetGoS));
  }
  return status;
}

Status all_reduce_f64(Communicator& group, Stream& stream, std::span<double> values, ReduceOp op,
                      Deadline deadline) {
  const Tensor flat(values.data(), DType::kF64, {std::ssize(values)});
  return wait_or_give_up(group, group.all_reduce(flat, op, stream), deadline);
}

Result<std::vector<std::string>> all_gather_bytes(Communicator& group, Stream& stream,
                                                  const std::string& mine, Deadline deadline) {
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<int64_t> sizes,
      all_gather_i64(group, stream, static_cast<int64_t>(mine.size()), deadline));
  const auto num_ranks = static_cast<size_t>(group.size());
  const int64_t longest = *std::max_element(sizes.begin(), sizes.end());
  std::vector<std::string> all(num_ranks);
  if (longest * group.size() <= kPaddedLimitBytes) {
    std::string padded = mine, gathered;
    padded.resize(static_cast<size_t>(longest));
    LEASEHOLD_RETURN_IF_ERROR(all_gather_fixed(group, stream, padded, &gathered, deadline));
    for (size_t r = 0; r < num_ranks; ++r) {
      all[r] = gathered.substr(r * static_cast<size_t>(longest), static_cast<size_t>(sizes[r]));
    }
    return all;
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> gathered,
                             gather_bytes(group, stream, mine, deadline));
  std::string together;
  for (const std::string& one : gathered) together += one;
  together.resize(static_cast<size_t>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0})));
  LEASEHOLD_RETURN_IF_ERROR(
      wait_or_give_up(group, group.broadcast(bytes(together), 0, stream), deadline));
  size_t begin = 0;
  for (size_t r = 0; r < num_ranks; ++r) {
    all[r] = together.substr(begin, static_cast<size_t>(sizes[r]));
    begin += all[r].size();
  }
  return all;
}

Result<std::string> broadcast_bytes(Communicator& group, Stream& stream, const std::string& mine,
                                    int root, Deadline deadline) {
  int64_t size_bytes = static_cast<int64_t>(mine.size());
  LEASEHOLD_RETURN_IF_ERROR(wait_or_give_up(
      group, group.broadcast(bytes(&size_bytes, sizeof(size_bytes)), root, stream), deadline));
  std::string text = mine;
  text.resize(static_cast<size_t>(size_bytes));
  LEASEHOLD_RETURN_IF_ERROR(
      wait_or_give_up(group, group.broadcast(bytes(text), root, stream), deadline));
  return text;
}

Status agree(Communicator& group, Stream& stream, const Status& mine, Deadline deadline) {
  const auto gathered = all_gather_i64(group, stream, mine.exit_code(), deadline);
  if (!gathered.ok()) return mine.ok() ? gathered.status() : mine;
  const std::vector<int64_t>& codes = *gathered;
  // A rank that lost a peer does not know why: what that one says goes first.
  const auto lost = static_cast<int64_t>(Code::kUnavailable);
  auto failed = std::find_if(codes.begin(), codes.end(),
                             [&](int64_t code) { return code != 0 && code != lost; });
  if (failed == codes.end()) failed = std::find(codes.begin(), codes.end(), lost);
  if (failed == codes.end()) return ok_status();
  const int rank = static_cast<int>(failed - codes.begin());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string message,
                             broadcast_bytes(group, stream, mine.message(), rank, deadline));
  std::vector<int> alike;
  for (int r = 0; r < group.size(); ++r) {
    if (codes[static_cast<size_t>(r)] == *failed) alike.push_back(r);
  }
  // A failure that all ranks share names no rank: it was perhaps agreed on before.
  if (std::ssize(alike) == group.size()) return {static_cast<Code>(*failed), message};
  return {static_cast<Code>(*failed), rank_prefix(alike) + message};
}

Status wait_for_all(Communicator& group, Stream& stream, const std::function<bool()>& done,
                    double timeout_s) {
  constexpr double kLookS = 1e-3;
  constexpr double kLongestPauseS = 1;
  const double longest_s = std::min(kLongestPauseS, timeout_s / 4);
  for (double pause_s = kLookS;; pause_s = std::min(2 * pause_s, longest_s)) {
    const Deadline until = Deadline::after_s(pause_s);
    while (!done() && !until.passed()) system_clock().sleep_s(kLookS);
    std::array<double, 1> waits = {done() ? 0.0 : 1.0};
    const Deadline deadline = after_group_timeout(timeout_s);
    LEASEHOLD_RETURN_IF_ERROR(all_reduce_f64(group, stream, waits, ReduceOp::kMax, deadline));
    if (waits[0] == 0) return ok_status();
  }
}

Status barrier(Communicator& group, Stream& stream, Deadline deadline) {
  return all_gather_i64(group, stream, 0, deadline).status();
}

}  // namespace leasehold
