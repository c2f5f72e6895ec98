#include "runtime/checkpoint/checkpoint_reader.h"

#include <algorithm>
#include <tuple>

#include "runtime/checkpoint/reshard.h"

namespace leasehold {

namespace {

constexpr size_t kMaxOpenFiles = 256;
constexpr const char* kWayOut =
    "restore the file from a copy, or remove this checkpoint and go on from an older one";

// A piece that some wanted slices share.
struct PlannedRead {
  const Piece* piece;
  std::vector<const StateSlice*> slices;
};

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

// What to read, in the order of the files and of the pieces in them (a writer puts them down in
// manifest order or near it), each piece once.
Result<std::vector<PlannedRead>> plan_reads(const Manifest& manifest,
                                            std::span<const StateSlice> wanted,
                                            const std::string& path) {
  std::map<std::tuple<int64_t, const StoredTensor*, const Piece*>, PlannedRead> reads;
  for (const StateSlice& slice : wanted) {
    const StoredTensor* stored = manifest.find(slice.parameter, slice.kind);
    LEASEHOLD_RETURN_IF_ERROR(check_wanted(slice, stored, path));
    for (const Piece& piece : stored->pieces) {
      if (!overlaps(piece.range, range_of(slice))) continue;
      PlannedRead& read = reads[{piece.file, stored, &piece}];
      read.piece = &piece;
      read.slices.push_back(&slice);
    }
  }
  std::vector<PlannedRead> planned;
  planned.reserve(reads.size());
  for (auto& [order, read] : reads) planned.push_back(std::move(read));
  return planned;
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

Status CheckpointReader::load(std::span<const StateSlice> wanted) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<PlannedRead> reads,
                             plan_reads(*manifest_, wanted, path_));
  for (const PlannedRead& planned : reads) {
    LEASEHOLD_ASSIGN_OR_RETURN(const float* const elements, read(*planned.piece));
    for (const StateSlice* slice : planned.slices) {
      copy_shared(planned.piece->range, elements, range_of(*slice), slice->data.as<float>());
    }
  }
  return ok_status();
}

Status load_checkpoint(FileSystem& files, const CheckpointHandle& checkpoint,
                       std::span<const StateSlice> wanted) {
  return CheckpointReader(files, checkpoint).load(wanted);
}

}  // namespace leasehold
