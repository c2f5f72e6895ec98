#include "runtime/checkpoint/shard_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "runtime/checkpoint/safetensors.h"
#include "runtime/checkpoint/shard_index.h"

namespace leasehold {

namespace {

constexpr const char* kAbout =
    "one shard of a Leasehold checkpoint; its index, or a description beside it, says what its "
    "pieces are";

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
std::vector<PlannedPiece> cut_pieces(std::span<const StateSlice> slices) {
  std::vector<PlannedPiece> pieces;
  for (size_t i = 0; i < slices.size(); ++i) {
    const StateSlice& slice = slices[i];
    const int64_t end = slice.begin + slice.data.num_elements();
    for (int64_t begin = slice.begin; begin < end;) {
      const int64_t border = (begin / kMaxPieceElements + 1) * kMaxPieceElements;
      const BoxRange range = {slice.box, begin, std::min(border, end)};
      pieces.push_back({.slice = i,
                        .range = range,
                        .key = piece_key(slice.parameter, slice.kind, slice.global_shape, range)});
      begin = range.end;
    }
  }
  return pieces;
}

// Gives pieces of moments that are all zero the key of a tensor of zeros as long as they are.
void share_zeros(std::vector<PlannedPiece>& pieces, std::span<const StateSlice> slices) {
  std::set<std::string> stored;
  for (PlannedPiece& piece : pieces) {
    if (slices[piece.slice].kind == StateKind::kWeight) continue;
    piece.key = fmt::format("zeros@{}", piece.range.count());
    piece.repeats = !stored.insert(piece.key).second;
  }
}

Result<std::string> encode_header(const std::vector<PlannedPiece>& pieces, int64_t index_bytes) {
  std::vector<SafetensorsTensor> tensors;
  tensors.reserve(pieces.size() + 1);
  int64_t offset = 0;
  for (const PlannedPiece& piece : pieces) {
    if (piece.repeats) continue;
    tensors.push_back(
        {piece.key, "F32", {piece.range.count()}, offset, offset + piece.size_bytes()});
    offset += piece.size_bytes();
  }
  if (index_bytes > 0)
    tensors.push_back({kIndexKey, "U8", {index_bytes}, offset, offset + index_bytes});
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

Result<ShardPlan> ShardPlan::create(std::span<const StateSlice> slices) {
  return create(slices, false, false);
}

Result<ShardPlan> ShardPlan::create_indexed(std::span<const StateSlice> slices) {
  return create(slices, true, false);
}

Result<ShardPlan> ShardPlan::create_of_weights(std::span<const StateSlice> slices) {
  return create(slices, true, true);
}

Result<ShardPlan> ShardPlan::create(std::span<const StateSlice> slices, bool has_index,
                                    bool zero_moments) {
  ShardPlan plan;
  using Key = std::pair<std::string, StateKind>;
  std::map<Key, size_t> tensor_of;
  std::map<Key, Shape> shapes;
  for (const StateSlice& slice : slices) {
    LEASEHOLD_RETURN_IF_ERROR(check_slice(slice));
    const Shape& shape =
        shapes.try_emplace({slice.parameter, slice.kind}, slice.global_shape).first->second;
    if (shape != slice.global_shape) {
      return error(Code::kInternal, "two slices of parameter '{}' with global shapes {} and {}",
                   slice.parameter, shape.to_string(), slice.global_shape.to_string());
    }
  }
  for (const auto& [key, shape] : shapes) {
    tensor_of[key] = plan.tensors_.size();
    plan.tensors_.push_back({key.first, key.second, shape, {}, {}});
  }
  plan.pieces_ = cut_pieces(slices);
  if (zero_moments) share_zeros(plan.pieces_, slices);
  for (PlannedPiece& piece : plan.pieces_) {
    const StateSlice& slice = slices[piece.slice];
    piece.tensor = tensor_of.at({slice.parameter, slice.kind});
    auto& pieces = plan.tensors_[piece.tensor].pieces;
    piece.place_in_tensor = pieces.size();
    pieces.push_back({piece.range, 0, piece.key, {}});
  }
  if (has_index) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string blank, encode_shard_index(plan.tensors_));
    plan.index_bytes_ = std::ssize(blank);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(plan.header_, encode_header(plan.pieces_, plan.index_bytes_));
  plan.size_bytes_ = std::ssize(plan.header_);
  std::map<std::string, int64_t> offsets;
  for (PlannedPiece& piece : plan.pieces_) {
    const auto [stored, is_new] = offsets.try_emplace(piece.key, plan.size_bytes_);
    piece.offset = stored->second;
    if (is_new) plan.size_bytes_ += piece.size_bytes();
  }
  plan.size_bytes_ += plan.index_bytes_;
  return plan;
}

ShardPieces ShardPlan::describe(const std::string& name, std::span<const Digest128> digests) const {
  LEASEHOLD_CHECK(digests.size() == pieces_.size(), "{} digests of {} pieces", digests.size(),
                  pieces_.size());
  ShardPieces shard{.file = {.name = name, .size_bytes = size_bytes_}, .tensors = tensors_};
  if (index_bytes_ > 0) {
    shard.file.num_pieces = std::ssize(pieces_);
    shard.file.index_bytes = index_bytes_;
  }
  for (size_t i = 0; i < pieces_.size(); ++i) {
    shard.tensors[pieces_[i].tensor].pieces[pieces_[i].place_in_tensor].digest = digests[i];
  }
  return shard;
}

const float* ShardPlan::data_of(const PlannedPiece& piece,
                                std::span<const StateSlice> slices) const {
  const StateSlice& slice = slices[piece.slice];
  return slice.data.as<float>() + (piece.range.begin - slice.begin);
}

std::vector<StateSlice> ShardPlan::slices_inside(std::span<const StateSlice> slices,
                                                 void* file) const {
  std::vector<StateSlice> inside(slices.begin(), slices.end());
  for (const PlannedPiece& piece : pieces_) {
    StateSlice& slice = inside[piece.slice];
    if (piece.range.begin != slice.begin) continue;  // not the slice's first
    slice.data = Tensor(static_cast<char*>(file) + piece.offset, DType::kF32, slice.data.shape());
  }
  return inside;
}

}  // namespace leasehold
