// Room of memory_tier.h: which slots there are, and when.
#include <algorithm>
#include <cstring>
#include <map>

#include "runtime/checkpoint/memory_tier.h"
#include "runtime/checkpoint/model_texts.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr int64_t kDescriptionSlack = 4096;  // what the metrics line and the numbers may grow by

std::string encode_numbers(std::initializer_list<int64_t> numbers) {
  return {reinterpret_cast<const char*>(numbers.begin()), numbers.size() * sizeof(int64_t)};
}

int64_t number_at(const std::string& encoded, size_t index) {
  int64_t number = 0;
  std::memcpy(&number, encoded.data() + index * sizeof number, sizeof number);
  return number;
}

}  // namespace

Status MemoryTier::set_description_size(const CheckpointInfo& like) {
  const std::vector<Digest128> blank(plan_.pieces().size());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string description,
                             encode_snapshot({.info = without_texts(like),
                                              .texts = {},
                                              .world_size = world_size_,
                                              .rank = rank_,
                                              .shard = plan_.describe("x.safetensors", blank)}));
  description_bytes_ = kDescriptionSlack + kSealBytes + std::ssize(description) +
                       (like.algorithms.empty() ? 0 : kAlgorithmBytes) +
                       (rank_ == 0 ? kLinesBytes : 0);
  return ok_status();
}

Status MemoryTier::set_up(const CheckpointInfo& like, Communicator& world) {
  world_size_ = world.size();
  rank_ = world.rank();
  LEASEHOLD_ASSIGN_OR_RETURN(auto stream, host_->create_stream("snapshots"));
  const Deadline deadline = after_group_timeout(options_.timeout_s);
  LEASEHOLD_RETURN_IF_ERROR(agree(world, *stream, set_description_size(like), deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<std::string> encoded,
      all_gather_bytes(world, *stream, encode_numbers({plan_.size_bytes(), description_bytes_}),
                       deadline));
  std::vector<SnapshotSize> sizes;
  for (const std::string& text : encoded)
    sizes.push_back({.slot_bytes = number_at(text, 0), .description_bytes = number_at(text, 1)});
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<NodeRoom> rooms, gather_room(sizes, world, *stream));
  const RoomPlan plan = plan_room(rooms, options_.from_memory);
  if (plan.begins == SlotLevel::kNone || (options_.must_fit && plan.ends != SlotLevel::kFull)) {
    // Of those alone whose memory is too small: theirs is the fault.
    const Status agreed = agree(world, *stream, refusal_of(rooms), deadline);
    return !agreed.ok() ? agreed : no_room("no node has room for snapshots");
  }
  LEASEHOLD_ASSIGN_OR_RETURN(auto group, world.split(0, rank_, "snapshots"));
  LEASEHOLD_ASSIGN_OR_RETURN(auto own_stream, host_->create_stream("snapshots"));
  exchange_ = std::make_unique<PartnerExchange>(
      std::move(group), std::move(own_stream),
      PartnerExchangeOptions{.directory = options_.directory,
                             .prefix = lineage_prefix(options_.lineage),
                             .node = node(),
                             .generation = options_.generation,
                             .partners = options_.partners,
                             .sizes = std::move(sizes),
                             .timeout_s = options_.timeout_s,
                             .chunk_bytes = options_.chunk_bytes});
  grows_to_ = plan.ends;
  return reserve(plan.begins, world, *stream);
}

Result<std::vector<NodeRoom>> MemoryTier::gather_room(const std::vector<SnapshotSize>& sizes,
                                                      Communicator& world, Stream& stream) {
  // The first rank of each node looks. Virtual nodes share a memory.
  const auto& names = options_.nodes;
  const std::string& directory = options_.directory.path;
  const bool looks = std::ranges::find(names, node()) == names.begin() + rank_;
  Result<int64_t> older = int64_t{0}, free = int64_t{0}, memory = int64_t{0};
  if (looks) {
    older = size_of_older();
    free = options_.directory.free_bytes(directory);
    memory = identity_of_memory(directory);
  }
  const Deadline deadline = after_group_timeout(options_.timeout_s);
  Status looked;
  for (const auto* found : {&older, &free, &memory}) {
    if (looked.ok()) looked = found->status();
  }
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, looked, deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<std::string> encoded,
      all_gather_bytes(world, stream, encode_numbers({*older, *free, *memory}), deadline));
  std::vector<NodeRoom> rooms;
  std::map<int64_t, size_t> room_of_memory;
  std::map<std::string, size_t> room_of_node;
  for (size_t rank = 0; rank < names.size(); ++rank) {
    if (room_of_node.contains(names[rank])) continue;
    const auto [found, is_new] =
        room_of_memory.try_emplace(number_at(encoded[rank], 2), rooms.size());
    if (is_new) {
      rooms.push_back(
          {.node = names[rank], .shares = {}, .free_bytes = number_at(encoded[rank], 1)});
    } else {
      rooms[found->second].node += " and " + names[rank];
    }
    if (options_.from_memory) rooms[found->second].older_bytes += number_at(encoded[rank], 0);
    room_of_node[names[rank]] = found->second;
    if (names[rank] == node()) own_room_ = found->second;
  }
  for (size_t rank = 0; rank < names.size(); ++rank) {
    const int64_t bytes = sizes[rank].slot_bytes + sizes[rank].description_bytes;
    rooms[room_of_node[names[rank]]].shares.own_bytes += bytes;
    const int partner = options_.partners[rank];
    if (partner < 0) continue;
    rooms[room_of_node[names[static_cast<size_t>(partner)]]].shares.copies_bytes += bytes;
  }
  return rooms;
}

Status MemoryTier::no_room(const std::string& why) const {
  const std::string& directory = options_.directory.path;
  return error(
      options_.must_fit ? Code::kBadConfig : Code::kStorage,
      "node {}: {}: enlarge {} (mount -o remount,size=... {}), remove what other runs left "
      "in it (leasehold clean RUN_DIR), or write checkpoint.snapshot = \"off\"",
      node(), why, directory, directory);
}

Status MemoryTier::refusal_of(const std::vector<NodeRoom>& rooms) const {
  const NodeRoom& room = rooms[own_room_];
  const SlotLevel least = options_.must_fit ? SlotLevel::kFull : SlotLevel::kLean;
  const bool begins = !options_.from_memory || lacking_bytes(room, SlotLevel::kFirst, true) <= 0;
  if (begins && lacking_bytes(room, least, false) <= 0) return ok_status();
  const std::string kept =
      options_.from_memory
          ? fmt::format(", while {} are kept that the state was restored from", room.older_bytes)
          : "";
  return no_room(
      fmt::format("{} has {} bytes left for snapshots, and {} are needed ({} of {} for the ranks "
                  "of {}, {} of {} "
                  "for copies of others'{})",
                  options_.directory.path, room.free_bytes, bytes_of(SlotLevel::kFull, room.shares),
                  slots_of(SlotLevel::kFull).own, room.shares.own_bytes, room.node,
                  slots_of(SlotLevel::kFull).copies, room.shares.copies_bytes, kept));
}

Status MemoryTier::reserve_own(int64_t count) {
  while (std::ssize(slots_) < count) {
    const std::string name =
        slot_name(lineage_prefix(options_.lineage), {.generation = options_.generation,
                                                     .rank = rank_,
                                                     .is_copy = false,
                                                     .index = draw_slot_index(),
                                                     .node = node()});
    LEASEHOLD_ASSIGN_OR_RETURN(auto slot,
                               SnapshotSlot::reserve(options_.directory, name, plan_.size_bytes()));
    std::memcpy(slot->data(), plan_.header().data(), plan_.header().size());
    std::lock_guard lock(mutex_);
    slots_.push_back({std::move(slot), -1});
  }
  return ok_status();
}

Status MemoryTier::reserve(SlotLevel level, Communicator& group, Stream& stream) {
  Status reserved = reserve_own(slots_of(level).own);
  if (reserved.ok()) reserved = exchange_->reserve(slots_of(level).copies);
  if (!reserved.ok()) reserved = no_room(reserved.message());
  const Status agreed = agree(group, stream, reserved, after_group_timeout(options_.timeout_s));
  if (agreed.ok()) {
    level_ = level;
    return ok_status();
  }
  exchange_->release(slots_of(level_).copies);
  std::lock_guard lock(mutex_);
  for (; std::ssize(slots_) > slots_of(level_).own; slots_.pop_back())
    slots_.back().memory->remove();
  return agreed;
}

bool MemoryTier::is_older(const SlotName& slot) const {
  return slot.node == node() && slot.generation < options_.generation;
}

Result<int64_t> MemoryTier::size_of_older() const {
  int64_t total = 0;
  std::vector<std::string> lineages = options_.older_lineages;
  lineages.push_back(options_.lineage);
  for (const std::string& lineage : lineages) {
    LEASEHOLD_ASSIGN_OR_RETURN(
        const int64_t bytes,
        size_of_slots(options_.directory.path, lineage_prefix(lineage),
                      [this](const std::string&, const SlotName& name) { return is_older(name); }));
    total += bytes;
  }
  return total;
}

Status MemoryTier::remove_older() const {
  std::vector<std::string> lineages = options_.older_lineages;
  lineages.push_back(options_.lineage);
  for (const std::string& lineage : lineages) {
    LEASEHOLD_RETURN_IF_ERROR(
        remove_slots(options_.directory.path, lineage_prefix(lineage),
                     [this](const std::string&, const SlotName& name) { return is_older(name); })
            .status());
  }
  return ok_status();
}

// On the tier's thread.
void MemoryTier::grow() {
  Communicator& group = exchange_->group();
  Stream& stream = exchange_->stream();
  Status grown = agree(group, stream, remove_older(), after_group_timeout(options_.timeout_s));
  for (const SlotLevel level : {grows_to_, SlotLevel::kLean}) {
    if (!grown.ok()) break;
    grown = reserve(level, group, stream);
    if (grown.ok() || grown.code() == Code::kUnavailable || level == SlotLevel::kLean) break;
    grown = ok_status();  // with fewer
  }
  std::lock_guard lock(mutex_);
  can_exchange_ = can_exchange_ && group.health().ok();
  failure_ = grown;
}

}  // namespace leasehold
