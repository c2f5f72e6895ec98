#include "runtime/checkpoint/memory_restore.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/reshard.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

// For each part the copy to read it from; nothing when a part has no good one.
std::optional<std::vector<size_t>> choose_copies(const SnapshotCandidate& candidate,
                                                 const std::set<size_t>& bad) {
  std::vector<size_t> chosen;
  for (const std::vector<size_t>& part : candidate.copies) {
    const auto good = std::ranges::find_if(part, [&](size_t i) { return !bad.contains(i); });
    if (good == part.end()) return std::nullopt;
    chosen.push_back(*good);
  }
  return chosen;
}

std::string describe(const std::vector<size_t>& chosen, const std::vector<SnapshotCopy>& copies) {
  std::map<std::string, std::pair<int, int>> by_node;  // parts, of which partners' copies
  for (const size_t i : chosen) {
    auto& [parts, replicas] = by_node[copies[i].node];
    ++parts;
    replicas += copies[i].is_copy ? 1 : 0;
  }
  std::string text;
  for (const auto& [node, count] : by_node) {
    text += fmt::format("{}{} of {} parts on node {}", text.empty() ? "" : ", ", count.first,
                        chosen.size(), node);
    if (count.second > 0) text += fmt::format(" ({} as a partner's copy)", count.second);
  }
  return "memory: " + text;
}

// Collective. The descriptions of the chosen copies, from those who hold them.
Result<std::vector<SnapshotDescription>> gather_descriptions(const std::vector<size_t>& chosen,
                                                             const SnapshotInventory& inventory,
                                                             Communicator& world, Stream& stream,
                                                             Deadline deadline) {
  std::string mine;
  Status encoded;
  for (size_t part = 0; part < chosen.size() && encoded.ok(); ++part) {
    const auto held = inventory.own.find(chosen[part]);
    if (held == inventory.own.end()) continue;
    const Result<std::string> text = encode_snapshot(held->second);
    encoded = text.status();
    if (text.ok()) mine += fmt::format("{}\t", part) + *text;
  }
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, encoded, deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                             all_gather_bytes(world, stream, mine, deadline));
  std::vector<SnapshotDescription> descriptions(chosen.size());
  for (const std::string& text : all) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t tab = text.find('\t', begin);
      const size_t end = text.find('\n', tab);
      const size_t part = std::stoull(text.substr(begin, tab - begin));
      const std::string& slot = inventory.copies[chosen[part]].slot;
      LEASEHOLD_ASSIGN_OR_RETURN(
          descriptions[part],
          parse_snapshot(std::string_view(text).substr(tab + 1, end - tab - 1), slot + ".json"));
      begin = end + 1;
    }
  }
  return descriptions;
}

Result<CheckpointHandle> open_chosen(const std::vector<size_t>& chosen,
                                     std::vector<SnapshotDescription> descriptions,
                                     const std::vector<SnapshotCopy>& copies,
                                     const std::string& directory) {
  std::vector<ShardPieces> shards;
  for (size_t part = 0; part < chosen.size(); ++part) {
    shards.push_back(std::move(descriptions[part].shard));
    shards.back().file.name = copies[chosen[part]].slot + ".safetensors";
  }
  const CheckpointInfo& info = descriptions.front().info;
  LEASEHOLD_ASSIGN_OR_RETURN(Manifest manifest, merge_shards(info, std::move(shards)));
  return CheckpointHandle{.path = directory,
                          .info = info,
                          .manifest = std::make_shared<const Manifest>(std::move(manifest))};
}

// Of each chosen copy that this rank answers for, what is wrong: "INDEX REASON\n".
std::string verify_own(FileSystem& files, const CheckpointHandle& handle,
                       const std::vector<size_t>& chosen, const std::vector<SnapshotCopy>& copies,
                       int rank) {
  std::string complaints;
  CheckpointReader reader(files, handle);
  std::set<int64_t> done;
  for (const StoredTensor& tensor : handle.manifest->tensors) {
    for (const Piece& piece : tensor.pieces) {
      const size_t copy = chosen[static_cast<size_t>(piece.file)];
      if (copies[copy].holder != rank || done.contains(piece.file)) continue;
      const auto read = reader.read(piece);
      if (read.ok()) continue;
      done.insert(piece.file);
      complaints += fmt::format("{} {}\n", copy, read.status().message());
    }
  }
  return complaints;
}

// What a rank wants, as numbers: for each slice the tensor's index, dims, offset, extent, range.
std::string encode_wanted(const Manifest& manifest, std::span<const StateSlice> wanted) {
  std::vector<int64_t> numbers;
  for (const StateSlice& slice : wanted) {
    const StoredTensor* tensor = manifest.find(slice.parameter, slice.kind);
    if (tensor == nullptr) continue;  // accept() has refused such a model
    const Shape& extent = slice.box.extent;
    numbers.push_back(tensor - manifest.tensors.data());
    numbers.push_back(extent.num_dims());
    for (int dim = 0; dim < extent.num_dims(); ++dim) {
      numbers.push_back(slice.box.offset[static_cast<size_t>(dim)]);
      numbers.push_back(extent[dim]);
    }
    numbers.push_back(slice.begin);
    numbers.push_back(slice.begin + slice.data.num_elements());
  }
  std::string text(numbers.size() * sizeof(int64_t), '\0');
  std::memcpy(text.data(), numbers.data(), text.size());
  return text;
}

using WantedRanges = std::map<int64_t, std::vector<BoxRange>>;  // by tensor

WantedRanges decode_wanted(const std::string& text) {
  std::vector<int64_t> numbers(text.size() / sizeof(int64_t));
  std::memcpy(numbers.data(), text.data(), text.size());
  WantedRanges wanted;
  for (size_t at = 0; at < numbers.size();) {
    const int64_t tensor = numbers[at++];
    const auto num_dims = static_cast<size_t>(numbers[at++]);
    BoxRange range;
    std::vector<int64_t> extents;
    for (size_t dim = 0; dim < num_dims; ++dim) {
      range.box.offset[dim] = numbers[at++];
      extents.push_back(numbers[at++]);
    }
    range.box.extent = Shape(std::span<const int64_t>(extents));
    range.begin = numbers[at++];
    range.end = numbers[at++];
    wanted[tensor].push_back(range);
  }
  return wanted;
}

bool wants(const WantedRanges& wanted, int64_t tensor, const BoxRange& piece) {
  const auto found = wanted.find(tensor);
  return found != wanted.end() && std::ranges::any_of(found->second, [&](const BoxRange& range) {
           return overlaps(piece, range);
         });
}

void copy_to(std::span<const StateSlice> wanted, const StoredTensor& tensor, const Piece& piece,
             const float* elements) {
  for (const StateSlice& slice : wanted) {
    if (slice.parameter != tensor.parameter || slice.kind != tensor.kind) continue;
    const BoxRange range = {slice.box, slice.begin, slice.begin + slice.data.num_elements()};
    copy_shared(piece.range, elements, range, slice.data.as<float>());
  }
}

class Loading {
 public:
  Loading(FileSystem& files, const CheckpointHandle& handle, const std::vector<int>& holders,
          const std::vector<std::string>& nodes, Communicator& world, Stream& stream,
          Deadline deadline)
      : manifest_(*handle.manifest),
        holders_(holders),
        nodes_(nodes),
        world_(world),
        stream_(stream),
        deadline_(deadline),
        reader_(files, handle) {}

  // All ranks go through the pieces in one order, so that who sends and who receives meet. A piece
  // that cannot be read is sent all the same; its digest tells.
  Status load(std::span<const StateSlice> wanted) {
    LEASEHOLD_ASSIGN_OR_RETURN(
        const std::vector<std::string> encoded,
        all_gather_bytes(world_, stream_, encode_wanted(manifest_, wanted), deadline_));
    std::vector<WantedRanges> wanted_by_rank;
    for (const std::string& text : encoded) wanted_by_rank.push_back(decode_wanted(text));
    for (size_t t = 0; t < manifest_.tensors.size(); ++t) {
      for (const Piece& piece : manifest_.tensors[t].pieces) {
        LEASEHOLD_RETURN_IF_ERROR(
            move(manifest_.tensors[t], static_cast<int64_t>(t), piece, wanted, wanted_by_rank));
      }
    }
    return problem_;
  }

 private:
  const std::string& node_of(int rank) const { return nodes_[static_cast<size_t>(rank)]; }

  Status move(const StoredTensor& tensor, int64_t index, const Piece& piece,
              std::span<const StateSlice> wanted, const std::vector<WantedRanges>& by_rank) {
    const int me = world_.rank();
    const int holder = holders_[static_cast<size_t>(piece.file)];
    for (int rank = 0; rank < world_.size(); ++rank) {
      const bool involved = rank == me || holder == me;
      if (!involved || !wants(by_rank[static_cast<size_t>(rank)], index, piece.range)) continue;
      const bool local = node_of(rank) == node_of(holder);
      if (local && rank != me) continue;
      const float* elements = nullptr;
      if (local || holder == me) {
        const auto read = reader_.read(piece);
        if (!read.ok()) note(read.status());
        elements = read.ok() ? *read : nullptr;
      }
      if (!local && holder == me) {
        LEASEHOLD_RETURN_IF_ERROR(send(piece, elements, rank));
      } else if (!local) {
        LEASEHOLD_ASSIGN_OR_RETURN(elements, receive(tensor, piece, holder));
      }
      if (rank == me && elements != nullptr) copy_to(wanted, tensor, piece, elements);
    }
    return ok_status();
  }

  Status send(const Piece& piece, const float* elements, int rank) {
    buffer_.assign(static_cast<size_t>(piece.range.count()), 0);
    if (elements != nullptr) std::copy_n(elements, piece.range.count(), buffer_.data());
    return wait_or_give_up(world_, world_.send(flat(buffer_), rank, stream_), deadline_);
  }

  // Null, and noted, when what arrives is not what was written.
  Result<const float*> receive(const StoredTensor& tensor, const Piece& piece, int holder) {
    buffer_.resize(static_cast<size_t>(piece.range.count()));
    LEASEHOLD_RETURN_IF_ERROR(
        wait_or_give_up(world_, world_.receive(flat(buffer_), holder, stream_), deadline_));
    const Digest128 digest = digest128(buffer_.data(), buffer_.size() * sizeof(float));
    if (digest == piece.digest) return static_cast<const float*>(buffer_.data());
    note(error(Code::kBadData, "piece '{}' of {} arrived damaged from rank {}", piece.key,
               tensor.parameter, holder));
    return static_cast<const float*>(nullptr);
  }

  static Tensor flat(std::vector<float>& values) {
    return Tensor(values.data(), DType::kF32, {std::ssize(values)});
  }
  void note(const Status& status) {
    if (problem_.ok()) problem_ = status;
  }

  const Manifest& manifest_;
  const std::vector<int>& holders_;
  const std::vector<std::string>& nodes_;
  Communicator& world_;
  Stream& stream_;
  Deadline deadline_;
  CheckpointReader reader_;
  std::vector<float> buffer_;
  Status problem_;
};

}  // namespace

Result<RestoredSnapshot> load_snapshot(const MemorySources& sources,
                                       const SnapshotCandidate& candidate,
                                       const SnapshotInventory& inventory,
                                       const std::function<Status(const CheckpointHandle&)>& accept,
                                       std::span<const StateSlice> wanted, Communicator& world,
                                       Stream& stream, Deadline deadline,
                                       std::vector<CheckpointRejected>& rejected) {
  FileSystem& files = private_files();
  const std::vector<SnapshotCopy>& copies = inventory.copies;
  std::set<size_t> bad;
  while (true) {
    const auto chosen = choose_copies(candidate, bad);
    if (!chosen) {
      return error(Code::kBadData, "the snapshot of step {} has no good copy left of some part",
                   candidate.step);
    }
    LEASEHOLD_ASSIGN_OR_RETURN(std::vector<SnapshotDescription> descriptions,
                               gather_descriptions(*chosen, inventory, world, stream, deadline));
    RestoredSnapshot restored{.handle = {}, .texts = descriptions.front().texts, .slots = {}};
    LEASEHOLD_ASSIGN_OR_RETURN(
        CheckpointHandle handle,
        open_chosen(*chosen, std::move(descriptions), copies, sources.directory));
    const std::string complaints = verify_own(files, handle, *chosen, copies, world.rank());
    LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                               all_gather_bytes(world, stream, complaints, deadline));
    const size_t bad_before = bad.size();
    for (const std::string& text : all) {
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = text.find('\n', begin);
        const std::string line = text.substr(begin, end - begin);
        const size_t copy = std::stoull(line);
        bad.insert(copy);
        rejected.push_back(
            {copies[copy].node + ":" + copies[copy].slot, line.substr(line.find(' ') + 1)});
        begin = end + 1;
      }
    }
    if (bad.size() != bad_before) continue;
    LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, accept(handle), deadline));
    std::vector<int> holders;
    for (const size_t i : *chosen) holders.push_back(copies[i].holder);
    Loading loading(files, handle, holders, sources.nodes, world, stream, deadline);
    LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, loading.load(wanted), deadline));
    handle.path = describe(*chosen, copies);
    restored.handle = std::move(handle);
    for (const std::vector<size_t>& part : candidate.copies) {
      for (const size_t i : part) restored.slots.insert(copies[i].slot);
    }
    return restored;
  }
}

}  // namespace leasehold
