#include "runtime/checkpoint/memory_inventory.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "runtime/base/files.h"
#include "runtime/checkpoint/snapshot_slot.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// "SLOT\tDESCRIPTION\n" for each slot of this node.
Result<std::string> own_inventory(const std::string& directory, const std::string& prefix,
                                  const std::string& node) {
  std::string text;
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> slots, list_slots(directory, prefix));
  for (const std::string& slot : slots) {
    if (parse_slot_name(prefix, slot)->node != node) continue;
    const auto description = read_file(posix_files(), join_path(directory, slot + ".json"));
    if (!description.ok() || !description->ends_with('\n')) continue;  // gone, or no whole line
    if (std::ranges::count(*description, '\n') != 1) continue;
    text += slot + "\t" + *description;
  }
  return text;
}

void parse_inventory(const std::string& text, int holder, const std::string& node,
                     const std::string& prefix, const std::string& lineage,
                     std::vector<SnapshotCopy>& copies) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t tab = text.find('\t', begin);
    const size_t end = text.find('\n', tab);
    const std::string slot = text.substr(begin, tab - begin);
    const auto name = parse_slot_name(prefix, slot);
    auto description =
        parse_snapshot(std::string_view(text).substr(tab + 1, end - tab - 1), slot + ".json");
    begin = end + 1;
    const bool good = name && description.ok() && description->info.lineage == lineage &&
                      description->rank == name->rank &&
                      description->info.generation == name->generation;
    if (!good) continue;
    copies.push_back({.holder = holder,
                      .node = node,
                      .slot = slot,
                      .is_copy = name->is_copy,
                      .description = std::move(description).value()});
  }
}

}  // namespace

Result<std::vector<SnapshotCopy>> gather_inventory(
    const std::string& directory, const std::string& prefix, const std::string& lineage,
    const std::vector<std::string>& nodes, Communicator& world, Stream& stream, Deadline deadline) {
  const auto me = static_cast<size_t>(world.rank());
  const bool first_of_node =
      std::ranges::find(nodes, nodes[me]) == nodes.begin() + static_cast<ptrdiff_t>(me);
  Result<std::string> mine = std::string();
  if (first_of_node) mine = own_inventory(directory, prefix, nodes[me]);
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, mine.status(), deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                             all_gather_bytes(world, stream, *mine, deadline));
  std::vector<SnapshotCopy> copies;
  for (int rank = 0; rank < world.size(); ++rank) {
    const auto index = static_cast<size_t>(rank);
    parse_inventory(all[index], rank, nodes[index], prefix, lineage, copies);
  }
  return copies;
}

std::vector<SnapshotCandidate> find_candidates(const std::vector<SnapshotCopy>& copies) {
  using Key = std::tuple<int64_t, int64_t, int64_t>;  // step, generation, world size
  std::map<Key, SnapshotCandidate, std::greater<>> found;
  for (const bool is_copy : {false, true}) {
    for (size_t i = 0; i < copies.size(); ++i) {
      if (copies[i].is_copy != is_copy) continue;
      const SnapshotDescription& description = copies[i].description;
      SnapshotCandidate& candidate =
          found[{description.info.step, description.info.generation, description.world_size}];
      candidate.step = description.info.step;
      candidate.generation = description.info.generation;
      candidate.copies.resize(static_cast<size_t>(description.world_size));
      candidate.copies[static_cast<size_t>(description.rank)].push_back(i);
    }
  }
  std::vector<SnapshotCandidate> whole;
  for (auto& [key, candidate] : found) {
    if (std::ranges::none_of(candidate.copies, [](const auto& part) { return part.empty(); })) {
      whole.push_back(std::move(candidate));
    }
  }
  return whole;
}

}  // namespace leasehold
