#include "runtime/checkpoint/shard_writer.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "runtime/checkpoint/safetensors.h"

namespace leasehold {

namespace {

constexpr const char* kAbout =
    "one shard of a Leasehold checkpoint; manifest.json says what its pieces are";

// A piece and where its elements lie in memory.
struct PieceSource {
  const StateSlice* slice;
  BoxRange range;
  const float* data;
  std::string key;
};

Status check_slice(const StateSlice& slice) {
  const BoxRange range = {slice.box, slice.begin, slice.begin + slice.data.num_elements()};
  const Status inside = check_inside(range, slice.global_shape);
  const bool flat_f32 = slice.data.present() && slice.data.dtype() == DType::kF32;
  if (inside.ok() && flat_f32 && !slice.parameter.empty()) return ok_status();
  return error(Code::kInternal, "slice '{}' of parameter '{}': {}", state_kind_name(slice.kind),
               slice.parameter,
               inside.ok() ? "it needs a name and f32 data in host memory" : inside.message());
}

// Cut where the position inside the box is a multiple of the longest piece, so that layouts tend to
// share borders.
std::vector<PieceSource> cut_pieces(std::span<const StateSlice> slices) {
  std::vector<PieceSource> pieces;
  for (const StateSlice& slice : slices) {
    const int64_t end = slice.begin + slice.data.num_elements();
    for (int64_t begin = slice.begin; begin < end;) {
      const int64_t border = (begin / kMaxPieceElements + 1) * kMaxPieceElements;
      const BoxRange range = {slice.box, begin, std::min(border, end)};
      pieces.push_back({&slice, range, slice.data.as<float>() + (begin - slice.begin),
                        piece_key(slice.parameter, slice.kind, slice.global_shape, range)});
      begin = range.end;
    }
  }
  return pieces;
}

Result<std::string> encode_header(const std::vector<PieceSource>& pieces) {
  std::vector<SafetensorsTensor> tensors;
  tensors.reserve(pieces.size());
  int64_t offset = 0;
  for (const PieceSource& piece : pieces) {
    const int64_t size_bytes = piece.range.count() * static_cast<int64_t>(sizeof(float));
    tensors.push_back({piece.key, "F32", {piece.range.count()}, offset, offset + size_bytes});
    offset += size_bytes;
  }
  return encode_safetensors_header(tensors, {{"about", kAbout}});
}

}  // namespace

std::string shard_name(int index, int count) {
  return fmt::format("shard-{:05}-of-{:05}.safetensors", index, count);
}

std::string piece_key(const std::string& parameter, StateKind kind, const Shape& global_shape,
                      const BoxRange& range) {
  const std::string box = range.box == Box::whole(global_shape) ? "" : to_string(range.box);
  return fmt::format("{}/{}{}@{}:{}", parameter, state_kind_name(kind), box, range.begin,
                     range.end);
}

Result<ShardPieces> write_shard(FileSystem& files, const std::string& directory,
                                const std::string& name, std::span<const StateSlice> slices) {
  ShardPieces shard;
  shard.file.name = name;
  // A tensor of which this rank holds no element is named all the same: its shape must agree over
  // ranks.
  std::map<std::pair<std::string, StateKind>, StoredTensor> tensors;
  for (const StateSlice& slice : slices) {
    LEASEHOLD_RETURN_IF_ERROR(check_slice(slice));
    const StoredTensor empty = {slice.parameter, slice.kind, slice.global_shape, {}};
    const auto [place, is_new] = tensors.try_emplace({slice.parameter, slice.kind}, empty);
    if (place->second.shape != slice.global_shape) {
      return error(Code::kInternal, "two slices of parameter '{}' with global shapes {} and {}",
                   slice.parameter, place->second.shape.to_string(),
                   slice.global_shape.to_string());
    }
  }
  const std::vector<PieceSource> pieces = cut_pieces(slices);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string header, encode_header(pieces));

  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.create(join_path(directory, name)));
  LEASEHOLD_RETURN_IF_ERROR(file->append(header.data(), static_cast<int64_t>(header.size())));
  shard.file.size_bytes = static_cast<int64_t>(header.size());
  for (const PieceSource& piece : pieces) {
    const int64_t size_bytes = piece.range.count() * static_cast<int64_t>(sizeof(float));
    LEASEHOLD_RETURN_IF_ERROR(file->append(piece.data, size_bytes));
    shard.file.size_bytes += size_bytes;
    const Digest128 digest = digest128(piece.data, static_cast<size_t>(size_bytes));
    tensors.at({piece.slice->parameter, piece.slice->kind})
        .pieces.push_back({piece.range, 0, piece.key, digest});
  }
  LEASEHOLD_RETURN_IF_ERROR(file->sync());
  LEASEHOLD_RETURN_IF_ERROR(file->close());
  LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(directory));
  for (auto& [key, tensor] : tensors) shard.tensors.push_back(std::move(tensor));
  return shard;
}

}  // namespace leasehold
