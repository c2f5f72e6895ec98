#include "runtime/checkpoint/checkpoint_reader.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "runtime/checkpoint/reshard.h"
#include "runtime/checkpoint/shard_index.h"

namespace leasehold {

namespace {

constexpr size_t kMaxOpenFiles = 256;
// Most pieces whose indexes are kept between calls.
constexpr int64_t kMaxIndexedPieces = int64_t{1} << 20;
constexpr const char* kWayOut =
    "restore the file from a copy, or remove this checkpoint and go on from an older one";

BoxRange range_of(const StateSlice& slice) {
  return {slice.box, slice.begin, slice.begin + slice.data.num_elements()};
}

Status check_wanted(const StateSlice& slice, const StoredTensor* stored, const std::string& path) {
  if (stored == nullptr) {
    return error(Code::kBadData, "{}: checkpoint of another model: it has no parameter '{}'", path,
                 slice.parameter);
  }
  if (stored->shape != slice.global_shape) {
    return error(Code::kBadData,
                 "{}: checkpoint of another model: parameter '{}' has shape {} in it, the model {}",
                 path, slice.parameter, stored->shape.to_string(), slice.global_shape.to_string());
  }
  const Status inside = check_inside(range_of(slice), slice.global_shape);
  LEASEHOLD_CHECK(inside.ok() && slice.data.dtype() == DType::kF32, "slice of '{}': {}",
                  slice.parameter, inside.message());
  return ok_status();
}

// Pieces to read by file, tensor and place; a writer puts them down in this order or near it. Keys
// tell those apart that begin at the same place of different boxes.
using ReadKey = std::tuple<int64_t, const StoredTensor*, int64_t, std::string>;
using Reads = std::map<ReadKey, CheckpointReader::Read>;

// Takes the pieces of `pieces` that fill some of a slice. Counts the elements that they bring.
void take_pieces(const StoredTensor& tensor, const std::vector<Piece>& pieces, int64_t file,
                 const Box* box, const StateSlice& slice, size_t place, Reads& reads,
                 int64_t& count) {
  for (const Piece& piece : pieces) {
    if (box != nullptr && !(piece.range.box == *box)) continue;
    int64_t shared = 0;
    for_each_run(piece.range, range_of(slice), [&](const CopyRun& run) {
      shared += run.count;
      return true;
    });
    if (shared == 0) continue;
    count += shared;
    const int64_t from = box != nullptr ? file : piece.file;
    CheckpointReader::Read& read = reads[{from, &tensor, piece.range.begin, piece.key}];
    read.piece = piece;
    read.piece.file = from;
    read.slices.push_back(place);
  }
}

// The files that hold elements of a box that are wanted.
std::set<int64_t> files_of(const HeldBox& held, const BoxRange& wanted) {
  std::set<int64_t> files;
  int64_t begin = 0;
  for (const HeldRun& run : held.runs) {
    const int64_t end = begin + run.count * run.elements;
    const bool any = overlaps({held.box, begin, end}, wanted);
    for (int64_t i = 0; any && i < run.count; ++i) {
      const int64_t from = begin + i * run.elements;
      if (overlaps({held.box, from, from + run.elements}, wanted))
        files.insert(run.first + i * run.stride);
    }
    begin = end;
  }
  return files;
}

// Pieces of one tensor lie in boxes that do not overlap; those of one box must not either.
Status check_disjoint(const Reads& reads, std::span<const StateSlice> wanted,
                      const std::string& path) {
  using Key = std::pair<std::string, StateKind>;
  std::map<Key, std::vector<BoxRange>> tensors;
  for (const auto& [key, read] : reads) {
    const StateSlice& slice = wanted[read.slices.front()];
    tensors[{slice.parameter, slice.kind}].push_back(read.piece.range);
  }
  for (auto& [key, ranges] : tensors) {
    std::ranges::sort(ranges, box_range_less);
    for (size_t i = 1; i < ranges.size(); ++i) {
      if (ranges[i - 1].box == ranges[i].box && ranges[i].begin < ranges[i - 1].end) {
        return error(Code::kBadData, "{}: '{}' of parameter '{}': {} overlap {}; {}", path,
                     state_kind_name(key.second), key.first, to_string(ranges[i]),
                     to_string(ranges[i - 1]), kWayOut);
      }
    }
  }
  return ok_status();
}

}  // namespace

CheckpointReader::CheckpointReader(FileSystem& files, const CheckpointHandle& checkpoint)
    : files_(files), path_(checkpoint.path), manifest_(checkpoint.manifest) {
  LEASEHOLD_CHECK(manifest_ != nullptr, "the handle of {} was not made by open_checkpoint", path_);
}

std::string CheckpointReader::path_of(int64_t index) const {
  return join_path(path_, manifest_->files[static_cast<size_t>(index)].name);
}

Result<CheckpointReader::OpenFile*> CheckpointReader::open(int64_t index) {
  const auto found = open_.find(index);
  if (found != open_.end()) return &found->second;
  if (open_.size() >= kMaxOpenFiles) open_.clear();
  const std::string path = path_of(index);
  Result<std::unique_ptr<ReadableFile>> file = files_.open(path);
  if (!file.ok()) {
    if (file.status().code() != Code::kMissingInput) return file.status();
    return error(Code::kBadData, "{}: this shard of the checkpoint is missing; {}", path, kWayOut);
  }
  const int64_t expected = manifest_->files[static_cast<size_t>(index)].size_bytes;
  if (file.value()->size_bytes() != expected) {
    return error(
        Code::kBadData, "{}: {} bytes where the manifest says {} ({}); {}", path,
        file.value()->size_bytes(), expected,
        file.value()->size_bytes() < expected ? "truncated" : "not the file that was written",
        kWayOut);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(SafetensorsHeader header,
                             read_safetensors_header(*file.value(), path));
  OpenFile& opened = open_[index];
  opened = {std::move(file).value(), std::move(header)};
  return &opened;
}

Result<const float*> CheckpointReader::read(const Piece& piece) {
  LEASEHOLD_ASSIGN_OR_RETURN(OpenFile* const shard, open(piece.file));
  const std::string path = path_of(piece.file);
  const SafetensorsTensor* stored = shard->header.find(piece.key);
  const int64_t size_bytes = piece.range.count() * static_cast<int64_t>(sizeof(float));
  if (stored == nullptr || stored->dtype != "F32" || stored->end - stored->begin != size_bytes) {
    return error(Code::kBadData, "{}: piece '{}' is {}; {}", path, piece.key,
                 stored == nullptr ? "missing" : "not the F32 tensor that the manifest describes",
                 kWayOut);
  }
  buffer_.resize(static_cast<size_t>(std::max(piece.range.count(), std::ssize(buffer_))));
  LEASEHOLD_RETURN_IF_ERROR(shard->file->read_at(shard->header.buffer_offset + stored->begin,
                                                 buffer_.data(), size_bytes));
  const Digest128 digest = digest128(buffer_.data(), static_cast<size_t>(size_bytes));
  if (digest != piece.digest) {
    return error(Code::kBadData,
                 "{}: piece '{}' is damaged: its digest is {}, the manifest says {}; {}", path,
                 piece.key, digest.to_hex(), piece.digest.to_hex(), kWayOut);
  }
  return static_cast<const float*>(buffer_.data());
}

Result<const CheckpointReader::Index*> CheckpointReader::index_of(int64_t file) {
  const auto found = indexes_.find(file);
  if (found != indexes_.end()) return &found->second;
  LEASEHOLD_ASSIGN_OR_RETURN(OpenFile* const shard, open(file));
  const ShardFile& described = manifest_->files[static_cast<size_t>(file)];
  const std::string path = path_of(file);
  if (described.index_bytes > kMaxIndexBytes) {
    return error(Code::kBadData, "{}: an index of {} bytes; {}", path, described.index_bytes,
                 kWayOut);
  }
  std::string text(static_cast<size_t>(described.index_bytes), '\0');
  LEASEHOLD_RETURN_IF_ERROR(shard->file->read_at(described.size_bytes - described.index_bytes,
                                                 text.data(), described.index_bytes));
  const Digest128 digest = digest128(text.data(), text.size());
  if (digest != described.index_digest) {
    return error(Code::kBadData,
                 "{}: its index is damaged: its digest is {}, the manifest says {}; {}", path,
                 digest.to_hex(), described.index_digest.to_hex(), kWayOut);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(Index index, parse_shard_index(text, path));
  num_indexed_pieces_ += described.num_pieces;
  return &(indexes_[file] = std::move(index));
}

void CheckpointReader::for_each_piece(const std::function<bool(const Result<Piece>&)>& visit) {
  for (const StoredTensor& tensor : manifest_->tensors) {
    for (const Piece& piece : tensor.pieces)
      if (!visit(piece)) return;
  }
  for (int64_t file = 0; manifest_->version > 1 && file < std::ssize(manifest_->files); ++file) {
    const Result<const Index*> index = index_of(file);
    if (!index.ok() && !visit(index.status())) return;
    if (!index.ok()) continue;
    for (const StoredTensor& tensor : **index) {
      for (Piece piece : tensor.pieces) {
        piece.file = file;
        if (!visit(piece)) return;
      }
    }
    indexes_.erase(file);
    num_indexed_pieces_ -= manifest_->files[static_cast<size_t>(file)].num_pieces;
  }
}

Result<std::vector<CheckpointReader::Read>> CheckpointReader::plan_reads(
    std::span<const StateSlice> wanted) {
  if (num_indexed_pieces_ > kMaxIndexedPieces) {
    indexes_.clear();
    num_indexed_pieces_ = 0;
  }
  Reads reads;
  for (size_t place = 0; place < wanted.size(); ++place) {
    const StateSlice& slice = wanted[place];
    const StoredTensor* stored = manifest_->find(slice.parameter, slice.kind);
    LEASEHOLD_RETURN_IF_ERROR(check_wanted(slice, stored, path_));
    int64_t count = 0;
    take_pieces(*stored, stored->pieces, 0, nullptr, slice, place, reads, count);
    for (const HeldBox& held : stored->boxes) {
      for (const int64_t file : files_of(held, range_of(slice))) {
        LEASEHOLD_ASSIGN_OR_RETURN(const Index* const index, index_of(file));
        const auto tensor = std::ranges::lower_bound(*index, *stored, tensor_less);
        if (tensor == index->end() || tensor_less(*stored, *tensor)) continue;
        take_pieces(*stored, tensor->pieces, file, &held.box, slice, place, reads, count);
      }
    }
    if (count != slice.data.num_elements()) {
      return error(Code::kBadData, "{}: '{}' of parameter '{}': its pieces hold {} of {}; {}",
                   path_, state_kind_name(slice.kind), slice.parameter, count,
                   to_string(range_of(slice)), kWayOut);
    }
  }
  if (manifest_->version > 1) LEASEHOLD_RETURN_IF_ERROR(check_disjoint(reads, wanted, path_));
  std::vector<Read> planned;
  planned.reserve(reads.size());
  for (auto& [order, read] : reads) planned.push_back(std::move(read));
  return planned;
}

Status CheckpointReader::load(std::span<const StateSlice> wanted) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<Read> reads, plan_reads(wanted));
  for (const Read& planned : reads) {
    LEASEHOLD_ASSIGN_OR_RETURN(const float* const elements, read(planned.piece));
    for (const size_t place : planned.slices) {
      const StateSlice& slice = wanted[place];
      copy_shared(planned.piece.range, elements, range_of(slice), slice.data.as<float>());
    }
  }
  return ok_status();
}

Status load_checkpoint(FileSystem& files, const CheckpointHandle& checkpoint,
                       std::span<const StateSlice> wanted) {
  return CheckpointReader(files, checkpoint).load(wanted);
}

}  // namespace leasehold
