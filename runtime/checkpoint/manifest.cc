#include "runtime/checkpoint/manifest.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "runtime/checkpoint/json_reader.h"

namespace leasehold {

namespace {

using nlohmann::json;

constexpr const char* kFormat = "leasehold-checkpoint";
constexpr int64_t kVersion = 1;
constexpr int kManifestDepth = 6;  // manifest, tensors, tensor, pieces, piece, offset

bool tensor_less(const StoredTensor& a, const StoredTensor& b) {
  return std::tie(a.parameter, a.kind) < std::tie(b.parameter, b.kind);
}

// --- Writing ---

json encode_tensor(const StoredTensor& tensor) {
  json pieces = json::array();
  for (const Piece& piece : tensor.pieces) {
    const auto extents = piece.range.box.extent.extents();
    const auto& offset = piece.range.box.offset;
    pieces.push_back(
        {{"offset", std::vector<int64_t>(offset.begin(), offset.begin() + std::ssize(extents))},
         {"extent", std::vector<int64_t>(extents.begin(), extents.end())},
         {"begin", piece.range.begin},
         {"end", piece.range.end},
         {"file", piece.file},
         {"key", piece.key},
         {"digest", piece.digest.to_hex()}});
  }
  const auto extents = tensor.shape.extents();
  return {{"parameter", tensor.parameter},
          {"kind", state_kind_name(tensor.kind)},
          {"dtype", "F32"},
          {"shape", std::vector<int64_t>(extents.begin(), extents.end())},
          {"pieces", std::move(pieces)}};
}

json encode_tensors(const std::vector<StoredTensor>& tensors) {
  json list = json::array();
  for (const StoredTensor& tensor : tensors) list.push_back(encode_tensor(tensor));
  return list;
}

json encode_file(const ShardFile& file) {
  return {{"name", file.name}, {"size_bytes", file.size_bytes}};
}

Digest128 digest_of(const json& without_digest) {
  const std::string text = without_digest.dump();
  return digest128(text.data(), text.size());
}

Status not_utf8(const json::exception& failure) {
  return error(Code::kBadData, "a manifest cannot hold text that is not UTF-8: {}", failure.what());
}

// --- Reading ---

// A name of a file beside the manifest, and of nothing else.
bool plain_file_name(std::string_view name) {
  const auto alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !name.empty() && alphanumeric(name.front()) && std::ranges::all_of(name, [&](char c) {
    return alphanumeric(c) || c == '.' || c == '_' || c == '-';
  });
}

Result<Shape> parse_shape(const JsonCursor& at) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<int64_t> extents, at.integers());
  Result<Shape> shape = checked_shape(extents, sizeof(float));
  if (!shape.ok()) return at.bad(shape.status().message());
  return shape;
}

Result<Piece> parse_piece(const JsonCursor& at, const Shape& global, int64_t num_files) {
  LEASEHOLD_RETURN_IF_ERROR(
      at.expect_fields({"offset", "extent", "begin", "end", "file", "key", "digest"}));
  Piece piece;
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<int64_t> offset, at.field("offset").integers());
  LEASEHOLD_ASSIGN_OR_RETURN(piece.range.box.extent, parse_shape(at.field("extent")));
  if (std::ssize(offset) != piece.range.box.extent.num_dims()) {
    return at.bad("offset and extent have different numbers of dims");
  }
  std::ranges::copy(offset, piece.range.box.offset.begin());
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
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string hex, at.field("digest").string());
  const Result<Digest128> digest = Digest128::from_hex(hex);
  if (!digest.ok()) return at.field("digest").bad(digest.status().message());
  piece.digest = digest.value();
  return piece;
}

Result<StoredTensor> parse_tensor(const JsonCursor& at, int64_t num_files) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"parameter", "kind", "dtype", "shape", "pieces"}));
  StoredTensor tensor;
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.parameter, at.field("parameter").string());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string kind_name, at.field("kind").string());
  const Result<StateKind> kind = parse_state_kind(kind_name);
  if (!kind.ok()) return at.field("kind").bad(kind.status().message());
  tensor.kind = kind.value();
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string dtype, at.field("dtype").string());
  if (dtype != "F32")
    return at.field("dtype").bad(fmt::format("'{}' where F32 is expected", dtype));
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.shape, parse_shape(at.field("shape")));
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

Result<std::vector<StoredTensor>> parse_tensors(const JsonCursor& at, int64_t num_files) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_array());
  std::vector<StoredTensor> tensors;
  tensors.reserve(at.size());
  for (size_t i = 0; i < at.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(StoredTensor tensor, parse_tensor(at.element(i), num_files));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Result<ShardFile> parse_file(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"name", "size_bytes"}));
  ShardFile file;
  LEASEHOLD_ASSIGN_OR_RETURN(file.name, at.field("name").string());
  if (!plain_file_name(file.name)) return at.field("name").bad("not the plain name of a file");
  LEASEHOLD_ASSIGN_OR_RETURN(file.size_bytes, at.field("size_bytes").integer());
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
  return info;
}

// --- What holds between the parts ---

std::string describe(const StoredTensor& tensor) {
  return fmt::format("'{}' of parameter '{}'", state_kind_name(tensor.kind), tensor.parameter);
}

// Every parameter has its three kinds, of one shape.
Status check_kinds(const std::vector<StoredTensor>& tensors, const std::string& file) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor& first = tensors[i - i % kStateKinds.size()];
    const StoredTensor& tensor = tensors[i];
    if (tensor.parameter != first.parameter || tensor.kind != kStateKinds[i % kStateKinds.size()]) {
      return error(
          Code::kBadData,
          "{}: {} is out of place: every parameter needs weight, m and v, each once, in order",
          file, describe(tensor));
    }
    if (tensor.shape != first.shape) {
      return error(Code::kBadData, "{}: {} has shape {}, its weight {}", file, describe(tensor),
                   tensor.shape.to_string(), first.shape.to_string());
    }
  }
  if (tensors.size() % kStateKinds.size() != 0) {
    return error(Code::kBadData, "{}: parameter '{}' lacks some of weight, m and v", file,
                 tensors.back().parameter);
  }
  return ok_status();
}

Status check_manifest(const Manifest& manifest, const std::string& file) {
  std::set<std::string> names;
  for (const ShardFile& shard : manifest.files) {
    if (!names.insert(shard.name).second)
      return error(Code::kBadData, "{}: file '{}' twice", file, shard.name);
  }
  std::set<std::pair<int64_t, std::string_view>> keys;
  const StoredTensor* before = nullptr;
  for (const StoredTensor& tensor : manifest.tensors) {
    if (before != nullptr && !tensor_less(*before, tensor)) {
      return error(Code::kBadData, "{}: {} does not come after {}", file, describe(tensor),
                   describe(*before));
    }
    before = &tensor;
    std::vector<BoxRange> parts;
    parts.reserve(tensor.pieces.size());
    for (const Piece& piece : tensor.pieces) {
      parts.push_back(piece.range);
      if (!keys.emplace(piece.file, piece.key).second) {
        return error(Code::kBadData, "{}: key '{}' of file {} twice", file, piece.key, piece.file);
      }
    }
    const Status cover = check_cover(tensor.shape, parts);
    if (!cover.ok()) return cover.annotated(fmt::format("{}: {}", file, describe(tensor)));
  }
  return check_kinds(manifest.tensors, file);
}

}  // namespace

const StoredTensor* Manifest::find(const std::string& parameter, StateKind kind) const {
  StoredTensor wanted;
  wanted.parameter = parameter;
  wanted.kind = kind;
  const auto found = std::ranges::lower_bound(tensors, wanted, tensor_less);
  return found != tensors.end() && !tensor_less(wanted, *found) ? &*found : nullptr;
}

Result<std::string> encode_manifest(const Manifest& manifest) {
  const CheckpointInfo& info = manifest.info;
  json files = json::array();
  for (const ShardFile& file : manifest.files) files.push_back(encode_file(file));
  json root = {{"format", kFormat},
               {"version", kVersion},
               {"step", info.step},
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
               {"metrics_line", info.metrics_line},
               {"files", std::move(files)},
               {"tensors", encode_tensors(manifest.tensors)}};
  try {
    root["digest"] = digest_of(root).to_hex();
    return root.dump() + "\n";
  } catch (const json::exception& failure) {
    return not_utf8(failure);
  }
}

Result<Manifest> parse_manifest(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(json root, parse_strict_json(text, file, kManifestDepth));
  Manifest manifest;
  std::string written_digest;
  {
    const JsonCursor top(root, file);
    if (!root.is_object() || !top.has("format") || root["format"] != kFormat) {
      return top.bad(fmt::format("not a manifest: \"format\": \"{}\" is expected", kFormat));
    }
    if (!top.has("version") || root["version"] != kVersion) {
      return top.bad(fmt::format(
          "this build reads version {} only: use the Leasehold that wrote it", kVersion));
    }
    LEASEHOLD_RETURN_IF_ERROR(top.expect_fields(
        {"format", "version", "step", "seed", "data_position", "lineage", "parent_lineage",
         "fork_step", "generation", "identity", "model", "tokenizer", "arithmetic_class",
         "metrics_line", "files", "tensors", "digest"}));
    LEASEHOLD_ASSIGN_OR_RETURN(manifest.info, parse_info(top));
    const JsonCursor files = top.field("files");
    LEASEHOLD_RETURN_IF_ERROR(files.expect_array());
    for (size_t i = 0; i < files.size(); ++i) {
      LEASEHOLD_ASSIGN_OR_RETURN(ShardFile shard, parse_file(files.element(i)));
      manifest.files.push_back(std::move(shard));
    }
    LEASEHOLD_ASSIGN_OR_RETURN(
        manifest.tensors,
        parse_tensors(top.field("tensors"), static_cast<int64_t>(manifest.files.size())));
    LEASEHOLD_ASSIGN_OR_RETURN(written_digest, top.field("digest").string());
  }
  LEASEHOLD_RETURN_IF_ERROR(check_manifest(manifest, file));
  root.erase("digest");
  const std::string digest = digest_of(root).to_hex();
  if (digest != written_digest) {
    return error(Code::kBadData, "{}: damaged or edited: its digest is {}, it says {}", file,
                 digest, written_digest);
  }
  return manifest;
}

Result<std::string> encode_shard_pieces(const ShardPieces& shard) {
  try {
    return json{{"file", encode_file(shard.file)}, {"tensors", encode_tensors(shard.tensors)}}
        .dump();
  } catch (const json::exception& failure) {
    return not_utf8(failure);
  }
}

Result<ShardPieces> parse_shard_pieces(std::string_view text, const std::string& sender) {
  LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_strict_json(text, sender, kManifestDepth));
  const JsonCursor top(root, sender);
  LEASEHOLD_RETURN_IF_ERROR(top.expect_fields({"file", "tensors"}));
  ShardPieces shard;
  LEASEHOLD_ASSIGN_OR_RETURN(shard.file, parse_file(top.field("file")));
  LEASEHOLD_ASSIGN_OR_RETURN(shard.tensors, parse_tensors(top.field("tensors"), 1));
  return shard;
}

Result<Manifest> merge_shards(const CheckpointInfo& info, std::vector<ShardPieces> shards) {
  Manifest manifest;
  manifest.info = info;
  std::map<std::pair<std::string, StateKind>, StoredTensor> tensors;
  for (ShardPieces& shard : shards) {
    const auto file = static_cast<int64_t>(manifest.files.size());
    for (StoredTensor& part : shard.tensors) {
      const StoredTensor empty = {part.parameter, part.kind, part.shape, {}};
      StoredTensor& tensor = tensors.try_emplace({part.parameter, part.kind}, empty).first->second;
      if (tensor.shape != part.shape) {
        return error(Code::kBadData, "{} says that {} has shape {}, another rank {}",
                     shard.file.name, describe(part), part.shape.to_string(),
                     tensor.shape.to_string());
      }
      for (Piece& piece : part.pieces) {
        piece.file = file;
        tensor.pieces.push_back(std::move(piece));
      }
    }
    manifest.files.push_back(std::move(shard.file));
  }
  for (auto& [name, tensor] : tensors) {
    std::ranges::sort(tensor.pieces, [](const Piece& a, const Piece& b) {
      return box_range_less(a.range, b.range);
    });
    manifest.tensors.push_back(std::move(tensor));
  }
  LEASEHOLD_RETURN_IF_ERROR(check_manifest(manifest, "the ranks' slices together"));
  return manifest;
}

}  // namespace leasehold
