#include "runtime/comm/gather_bytes.h"

#include <algorithm>
#include <cstring>

#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// Appends to a message: for each rank of a branch, in order, the size of its bytes and the bytes.
void append(std::string& branch, const std::string& bytes) {
  const uint64_t size = bytes.size();
  branch.append(reinterpret_cast<const char*>(&size), sizeof(size));
  branch += bytes;
}

Result<std::vector<std::string>> split(const std::string& branch, int num_ranks) {
  std::vector<std::string> all;
  size_t at = 0;
  uint64_t size = 0;
  while (std::ssize(all) < num_ranks && branch.size() - at >= sizeof(size)) {
    std::memcpy(&size, branch.data() + at, sizeof(size));
    at += sizeof(size);
    if (size > branch.size() - at) break;
    all.push_back(branch.substr(at, size));
    at += size;
  }
  if (std::ssize(all) == num_ranks && at == branch.size()) return all;
  return error(Code::kInternal, "{} bytes gathered of {} ranks do not hold what each has sent",
               branch.size(), num_ranks);
}

Tensor view(void* data, int64_t size) { return Tensor(data, DType::kU8, {size}); }

Status send_branch(Communicator& group, Stream& stream, std::string& branch, int peer,
                   Deadline deadline) {
  int64_t size = std::ssize(branch);
  LEASEHOLD_RETURN_IF_ERROR(
      wait_or_give_up(group, group.send(view(&size, sizeof(size)), peer, stream), deadline));
  return wait_or_give_up(group, group.send(view(branch.data(), size), peer, stream), deadline);
}

Status receive_branch(Communicator& group, Stream& stream, std::string& branch, int peer,
                      Deadline deadline) {
  int64_t size = 0;
  LEASEHOLD_RETURN_IF_ERROR(
      wait_or_give_up(group, group.receive(view(&size, sizeof(size)), peer, stream), deadline));
  const size_t before = branch.size();
  branch.resize(before + static_cast<size_t>(size));
  return wait_or_give_up(group, group.receive(view(branch.data() + before, size), peer, stream),
                         deadline);
}

}  // namespace

Result<std::vector<std::string>> gather_bytes(Communicator& group, Stream& stream,
                                              const std::string& mine, Deadline deadline) {
  const int rank = group.rank();
  std::string branch;
  append(branch, mine);
  // Before round `reach`, the branch holds ranks [rank, rank + reach).
  for (int64_t reach = 1; reach < group.size(); reach *= 2) {
    if ((rank & reach) != 0) {
      LEASEHOLD_RETURN_IF_ERROR(
          send_branch(group, stream, branch, rank - static_cast<int>(reach), deadline));
      return std::vector<std::string>();
    }
    if (rank + reach < group.size()) {
      LEASEHOLD_RETURN_IF_ERROR(
          receive_branch(group, stream, branch, rank + static_cast<int>(reach), deadline));
    }
  }
  return split(branch, group.size());
}

}  // namespace leasehold
