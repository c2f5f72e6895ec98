#include "runtime/checkpoint/manifest_json.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "runtime/tensor/algorithm_choices.h"

namespace leasehold {

using nlohmann::json;

namespace {

json encode_head(const StoredTensor& tensor) {
  return {{"parameter", tensor.parameter},
          {"kind", state_kind_name(tensor.kind)},
          {"dtype", "F32"},
          {"shape", encode_shape(tensor.shape)}};
}

json encode_piece(const Piece& piece) {
  json encoded = encode_box(piece.range.box);
  encoded["begin"] = piece.range.begin;
  encoded["end"] = piece.range.end;
  encoded["file"] = piece.file;
  encoded["key"] = piece.key;
  encoded["digest"] = piece.digest.to_hex();
  return encoded;
}

json encode_held_box(const HeldBox& held) {
  json encoded = encode_box(held.box);
  json runs = json::array();
  for (const HeldRun& run : held.runs)
    runs.push_back({run.elements, run.count, run.first, run.stride});
  encoded["ranges"] = std::move(runs);
  return encoded;
}

// A name of a file beside the manifest, and of nothing else.
bool plain_file_name(std::string_view name) {
  const auto alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !name.empty() && alphanumeric(name.front()) && std::ranges::all_of(name, [&](char c) {
    return alphanumeric(c) || c == '.' || c == '_' || c == '-';
  });
}

Result<Piece> parse_piece(const JsonCursor& at, const Shape& global, int64_t num_files) {
  LEASEHOLD_RETURN_IF_ERROR(
      at.expect_fields({"offset", "extent", "begin", "end", "file", "key", "digest"}));
  Piece piece;
  LEASEHOLD_ASSIGN_OR_RETURN(piece.range.box, parse_box(at, global));
  LEASEHOLD_ASSIGN_OR_RETURN(piece.range.begin, at.field("begin").integer());
  LEASEHOLD_ASSIGN_OR_RETURN(piece.range.end, at.field("end").integer());
  const Status inside = check_inside(piece.range, global);
  if (!inside.ok()) return at.bad(inside.message());
  if (piece.range.count() < 1 || piece.range.count() > kMaxPieceElements) {
    return at.bad(fmt::format("{} elements, between 1 and {} are expected", piece.range.count(),
                              kMaxPieceElements));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(piece.file, at.field("file").integer(0, num_files - 1));
  LEASEHOLD_ASSIGN_OR_RETURN(piece.key, at.field("key").string());
  LEASEHOLD_ASSIGN_OR_RETURN(piece.digest, parse_digest(at.field("digest")));
  return piece;
}

// Parameter, kind and shape.
Result<StoredTensor> parse_head(const JsonCursor& at) {
  StoredTensor tensor;
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.parameter, at.field("parameter").string());
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.kind, parse_kind(at.field("kind")));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string dtype, at.field("dtype").string());
  if (dtype != "F32")
    return at.field("dtype").bad(fmt::format("'{}' where F32 is expected", dtype));
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.shape, parse_shape(at.field("shape")));
  return tensor;
}

Result<StoredTensor> parse_tensor(const JsonCursor& at, int64_t num_files) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"parameter", "kind", "dtype", "shape", "pieces"}));
  LEASEHOLD_ASSIGN_OR_RETURN(StoredTensor tensor, parse_head(at));
  const JsonCursor pieces = at.field("pieces");
  LEASEHOLD_RETURN_IF_ERROR(pieces.expect_array());
  tensor.pieces.reserve(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(Piece piece,
                               parse_piece(pieces.element(i), tensor.shape, num_files));
    tensor.pieces.push_back(std::move(piece));
  }
  return tensor;
}

// At most `rest` elements.
Result<HeldRun> parse_run(const JsonCursor& at, int64_t rest, int64_t num_files) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_array());
  if (at.size() != 4) return at.bad("ranges are [elements, count, first, stride]");
  HeldRun run;
  LEASEHOLD_ASSIGN_OR_RETURN(run.elements, at.element(0).integer(1));
  LEASEHOLD_ASSIGN_OR_RETURN(run.count, at.element(1).integer(1, num_files));
  LEASEHOLD_ASSIGN_OR_RETURN(run.first, at.element(2).integer(0, num_files - 1));
  LEASEHOLD_ASSIGN_OR_RETURN(run.stride, at.element(3).integer(1, num_files));
  if (run.count > rest / run.elements) {
    return at.bad(fmt::format("ranges of more than the {} elements that are left", rest));
  }
  if ((run.count - 1) * run.stride > num_files - 1 - run.first) {
    return at.bad(fmt::format("ranges in files beyond the {} that there are", num_files));
  }
  return run;
}

Result<HeldBox> parse_held_box(const JsonCursor& at, const Shape& global, int64_t num_files) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"offset", "extent", "ranges"}));
  HeldBox held;
  LEASEHOLD_ASSIGN_OR_RETURN(held.box, parse_box(at, global));
  const JsonCursor runs = at.field("ranges");
  LEASEHOLD_RETURN_IF_ERROR(runs.expect_array());
  int64_t rest = held.box.extent.num_elements();
  for (size_t i = 0; i < runs.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const HeldRun run, parse_run(runs.element(i), rest, num_files));
    rest -= run.count * run.elements;
    held.runs.push_back(run);
  }
  if (rest > 0) return runs.bad(fmt::format("no file holds the last {} elements", rest));
  return held;
}

Result<StoredTensor> parse_held_tensor(const JsonCursor& at, int64_t num_files) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"parameter", "kind", "dtype", "shape", "boxes"}));
  LEASEHOLD_ASSIGN_OR_RETURN(StoredTensor tensor, parse_head(at));
  const JsonCursor boxes = at.field("boxes");
  LEASEHOLD_RETURN_IF_ERROR(boxes.expect_array());
  for (size_t i = 0; i < boxes.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(HeldBox held,
                               parse_held_box(boxes.element(i), tensor.shape, num_files));
    tensor.boxes.push_back(std::move(held));
  }
  return tensor;
}

template <typename Parse>
Result<std::vector<StoredTensor>> parse_list(const JsonCursor& at, int64_t num_files,
                                             const Parse& parse) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_array());
  std::vector<StoredTensor> tensors;
  tensors.reserve(at.size());
  for (size_t i = 0; i < at.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(StoredTensor tensor, parse(at.element(i), num_files));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

json lines_of(const std::string& text) {
  json lines = json::array();
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Result<std::string> parse_algorithms(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_array());
  std::string text;
  for (size_t i = 0; i < at.size(); ++i) {
    const JsonCursor element = at.element(i);
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string line, element.string());
    if (line.find('\n') != std::string::npos) return element.bad("more than one line");
    text.append(line).append("\n");
  }
  const Status sound = AlgorithmChoices::parse(text).status();
  if (!sound.ok()) return at.bad(sound.message());
  return text;
}

}  // namespace

json encode_info(const CheckpointInfo& info) {
  json encoded = {{"step", info.step},
                  {"seed", info.seed},
                  {"data_position", info.data_position},
                  {"lineage", info.lineage},
                  {"parent_lineage", info.parent_lineage},
                  {"fork_step", info.fork_step},
                  {"generation", info.generation},
                  {"identity", info.identity},
                  {"model", info.model},
                  {"tokenizer", info.tokenizer_json},
                  {"arithmetic_class", info.arithmetic_class},
                  {"metrics_line", info.metrics_line}};
  if (info.num_skipped > 0) {
    encoded["skipped_steps"] = info.num_skipped;
    encoded["skipped_in_row"] = info.num_skipped_in_row;
  }
  if (!info.algorithms.empty()) encoded["algorithms"] = lines_of(info.algorithms);
  if (!info.cpu_kernels.empty()) encoded["cpu_kernels"] = info.cpu_kernels;
  if (!info.model_files.empty()) encoded["model_files"] = info.model_files;
  return encoded;
}

json encode_tensors(const std::vector<StoredTensor>& tensors) {
  json list = json::array();
  for (const StoredTensor& tensor : tensors) {
    json pieces = json::array();
    for (const Piece& piece : tensor.pieces) pieces.push_back(encode_piece(piece));
    list.push_back(encode_head(tensor));
    list.back()["pieces"] = std::move(pieces);
  }
  return list;
}

json encode_held_tensors(const std::vector<StoredTensor>& tensors) {
  json list = json::array();
  for (const StoredTensor& tensor : tensors) {
    json boxes = json::array();
    for (const HeldBox& held : tensor.boxes) boxes.push_back(encode_held_box(held));
    list.push_back(encode_head(tensor));
    list.back()["boxes"] = std::move(boxes);
  }
  return list;
}

json encode_shape(const Shape& shape) {
  return std::vector<int64_t>(shape.extents().begin(), shape.extents().end());
}

json encode_box(const Box& box) {
  const auto dims = box.extent.num_dims();
  return {{"offset", std::vector<int64_t>(box.offset.begin(), box.offset.begin() + dims)},
          {"extent", encode_shape(box.extent)}};
}

json encode_file(const ShardFile& file) {
  json encoded = {{"name", file.name}, {"size_bytes", file.size_bytes}};
  if (file.index_bytes == 0) return encoded;
  encoded["pieces"] = file.num_pieces;
  encoded["index_bytes"] = file.index_bytes;
  encoded["index_digest"] = file.index_digest.to_hex();
  return encoded;
}

Result<std::vector<StoredTensor>> parse_tensors(const JsonCursor& at, int64_t num_files) {
  return parse_list(at, num_files, parse_tensor);
}

Result<std::vector<StoredTensor>> parse_held_tensors(const JsonCursor& at, int64_t num_files) {
  return parse_list(at, num_files, parse_held_tensor);
}

Result<Shape> parse_shape(const JsonCursor& at) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<int64_t> extents, at.integers());
  Result<Shape> shape = checked_shape(extents, sizeof(float));
  if (!shape.ok()) return at.bad(shape.status().message());
  return shape;
}

Result<Box> parse_box(const JsonCursor& at, const Shape& global) {
  Box box;
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<int64_t> offset, at.field("offset").integers());
  LEASEHOLD_ASSIGN_OR_RETURN(box.extent, parse_shape(at.field("extent")));
  if (std::ssize(offset) != box.extent.num_dims())
    return at.bad("offset and extent have different numbers of dims");
  std::ranges::copy(offset, box.offset.begin());
  const Status inside = check_inside(box, global);
  if (!inside.ok()) return at.bad(inside.message());
  return box;
}

Result<StateKind> parse_kind(const JsonCursor& at) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string name, at.string());
  const Result<StateKind> kind = parse_state_kind(name);
  if (!kind.ok()) return at.bad(kind.status().message());
  return kind;
}

Result<Digest128> parse_digest(const JsonCursor& at) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string hex, at.string());
  const Result<Digest128> digest = Digest128::from_hex(hex);
  if (!digest.ok()) return at.bad(digest.status().message());
  return digest;
}

Result<ShardFile> parse_file(const JsonCursor& at, bool has_index) {
  LEASEHOLD_RETURN_IF_ERROR(
      has_index ? at.expect_fields({"name", "size_bytes", "pieces", "index_bytes", "index_digest"})
                : at.expect_fields({"name", "size_bytes"}));
  ShardFile file;
  LEASEHOLD_ASSIGN_OR_RETURN(file.name, at.field("name").string());
  if (!plain_file_name(file.name)) return at.field("name").bad("not the plain name of a file");
  LEASEHOLD_ASSIGN_OR_RETURN(file.size_bytes, at.field("size_bytes").integer());
  if (!has_index) return file;
  LEASEHOLD_ASSIGN_OR_RETURN(file.num_pieces, at.field("pieces").integer());
  LEASEHOLD_ASSIGN_OR_RETURN(file.index_bytes, at.field("index_bytes").integer(1));
  LEASEHOLD_ASSIGN_OR_RETURN(file.index_digest, parse_digest(at.field("index_digest")));
  return file;
}

Result<CheckpointInfo> parse_info(const JsonCursor& top) {
  CheckpointInfo info;
  LEASEHOLD_ASSIGN_OR_RETURN(info.step, top.field("step").integer());
  LEASEHOLD_ASSIGN_OR_RETURN(info.seed, top.field("seed").unsigned_integer());
  LEASEHOLD_ASSIGN_OR_RETURN(info.data_position, top.field("data_position").unsigned_integer());
  LEASEHOLD_ASSIGN_OR_RETURN(info.lineage, top.field("lineage").string());
  LEASEHOLD_ASSIGN_OR_RETURN(info.parent_lineage, top.field("parent_lineage").string());
  LEASEHOLD_ASSIGN_OR_RETURN(info.fork_step, top.field("fork_step").integer());
  LEASEHOLD_ASSIGN_OR_RETURN(info.generation, top.field("generation").integer());
  LEASEHOLD_ASSIGN_OR_RETURN(info.identity, top.field("identity").string_map());
  LEASEHOLD_ASSIGN_OR_RETURN(info.model, top.field("model").string_map());
  LEASEHOLD_ASSIGN_OR_RETURN(info.tokenizer_json, top.field("tokenizer").string());
  LEASEHOLD_ASSIGN_OR_RETURN(info.arithmetic_class, top.field("arithmetic_class").string());
  LEASEHOLD_ASSIGN_OR_RETURN(info.metrics_line, top.field("metrics_line").string());
  if (top.has("skipped_steps")) {
    LEASEHOLD_ASSIGN_OR_RETURN(info.num_skipped, top.field("skipped_steps").integer(0, info.step));
  }
  if (top.has("skipped_in_row")) {
    LEASEHOLD_ASSIGN_OR_RETURN(info.num_skipped_in_row,
                               top.field("skipped_in_row").integer(0, info.num_skipped));
  }
  if (top.has("cpu_kernels")) {
    LEASEHOLD_ASSIGN_OR_RETURN(info.cpu_kernels, top.field("cpu_kernels").string());
  }
  if (top.has("algorithms")) {
    LEASEHOLD_ASSIGN_OR_RETURN(info.algorithms, parse_algorithms(top.field("algorithms")));
  }
  if (top.has("model_files")) {
    LEASEHOLD_ASSIGN_OR_RETURN(info.model_files, top.field("model_files").string_map());
  }
  return info;
}

Digest128 digest_of(const json& without_digest) {
  const std::string text = without_digest.dump();
  return digest128(text.data(), text.size());
}

Status not_utf8(const json::exception& failure) {
  return error(Code::kBadData, "a manifest cannot hold text that is not UTF-8: {}", failure.what());
}

}  // namespace leasehold
