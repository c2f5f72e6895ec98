#include "runtime/checkpoint/memory_inventory.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "runtime/base/digest.h"
#include "runtime/checkpoint/snapshot_slot.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// A slot that this rank has read: its name and words, or why it is not believed.
struct ReadSlot {
  std::string slot;
  Result<SnapshotDescription> description;
};

Result<SnapshotDescription> read_description(const MemorySources& sources, const std::string& slot,
                                             const SlotName& name) {
  const std::string file = slot + ".json";
  LEASEHOLD_ASSIGN_OR_RETURN(std::string sealed, read_slot(sources.directory, slot));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             unseal_snapshot(std::move(sealed), sources.key, file));
  LEASEHOLD_ASSIGN_OR_RETURN(SnapshotDescription description, parse_snapshot(text, file));
  if (description.info.lineage != sources.lineage || description.rank != name.rank ||
      description.info.generation != name.generation) {
    return error(Code::kBadData, "{}: describes another slot than its own", file);
  }
  return description;
}

// The ranks of a node share its slots by their names.
Result<std::vector<ReadSlot>> read_own_share(const MemorySources& sources, int rank) {
  const std::string& node = sources.nodes[static_cast<size_t>(rank)];
  const auto begin = sources.nodes.begin();
  const auto of_node = static_cast<uint64_t>(std::ranges::count(sources.nodes, node));
  const auto place = static_cast<uint64_t>(std::count(begin, begin + rank, node));
  const std::string prefix = lineage_prefix(sources.lineage);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> slots,
                             list_slots(sources.directory, prefix));
  std::vector<ReadSlot> read;
  for (const std::string& slot : slots) {
    const auto name = parse_slot_name(prefix, slot);
    if (name->node != node || digest64(slot.data(), slot.size()) % of_node != place) continue;
    auto description = read_description(sources, slot, *name);
    if (description.status().code() == Code::kMissingInput) continue;  // gone by now
    read.push_back({slot, std::move(description)});
  }
  return read;
}

// A line for each: "+SLOT\tSTEP\tWORLD_SIZE", or "-SLOT\tREASON".
std::string encode_share(const std::vector<ReadSlot>& read) {
  std::string text;
  for (const auto& [slot, description] : read) {
    if (description.ok()) {
      text += fmt::format("+{}\t{}\t{}\n", slot, description->info.step, description->world_size);
    } else {
      std::string reason = description.status().message();
      std::ranges::replace(reason, '\n', ' ');
      text += fmt::format("-{}\t{}\n", slot, reason);
    }
  }
  return text;
}

void decode_share(const std::string& text, int holder, const MemorySources& sources,
                  SnapshotInventory& inventory) {
  const std::string& node = sources.nodes[static_cast<size_t>(holder)];
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const size_t tab = text.find('\t', begin);
    const std::string slot = text.substr(begin + 1, tab - begin - 1);
    const std::string rest = text.substr(tab + 1, end - tab - 1);
    if (text[begin] == '-') {
      inventory.rejected.push_back({node + ":" + slot, rest});
    } else {
      const auto name = parse_slot_name(lineage_prefix(sources.lineage), slot);
      inventory.copies.push_back({.holder = holder,
                                  .node = node,
                                  .slot = slot,
                                  .is_copy = name->is_copy,
                                  .step = std::stoll(rest),
                                  .generation = name->generation,
                                  .world_size = std::stoll(rest.substr(rest.find('\t'))),
                                  .rank = name->rank});
    }
    begin = end + 1;
  }
}

}  // namespace

Result<SnapshotInventory> gather_inventory(const MemorySources& sources, Communicator& world,
                                           Stream& stream, Deadline deadline) {
  Result<std::vector<ReadSlot>> mine = read_own_share(sources, world.rank());
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, mine.status(), deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                             all_gather_bytes(world, stream, encode_share(*mine), deadline));
  SnapshotInventory inventory;
  for (int rank = 0; rank < world.size(); ++rank) {
    if (rank == world.rank()) {
      size_t index = inventory.copies.size();
      for (ReadSlot& read : *mine) {
        if (read.description.ok())
          inventory.own.emplace(index++, std::move(read.description).value());
      }
    }
    decode_share(all[static_cast<size_t>(rank)], rank, sources, inventory);
  }
  return inventory;
}

std::vector<SnapshotCandidate> find_candidates(const std::vector<SnapshotCopy>& copies) {
  using Key = std::tuple<int64_t, int64_t, int64_t>;  // step, generation, world size
  std::map<Key, SnapshotCandidate, std::greater<>> found;
  for (const bool is_copy : {false, true}) {
    for (size_t i = 0; i < copies.size(); ++i) {
      if (copies[i].is_copy != is_copy) continue;
      const SnapshotCopy& copy = copies[i];
      if (copy.rank >= copy.world_size) continue;
      SnapshotCandidate& candidate = found[{copy.step, copy.generation, copy.world_size}];
      candidate.step = copy.step;
      candidate.generation = copy.generation;
      candidate.copies.resize(static_cast<size_t>(copy.world_size));
      candidate.copies[static_cast<size_t>(copy.rank)].push_back(i);
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
