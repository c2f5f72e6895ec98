#include "runtime/checkpoint/manifest.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "runtime/checkpoint/manifest_json.h"

namespace leasehold {

namespace {

using nlohmann::json;

constexpr const char* kFormat = "leasehold-checkpoint";
constexpr int64_t kVersion = 1;

bool tensor_less(const StoredTensor& a, const StoredTensor& b) {
  return std::tie(a.parameter, a.kind) < std::tie(b.parameter, b.kind);
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
  json files = json::array();
  for (const ShardFile& file : manifest.files) files.push_back(encode_file(file));
  json root = encode_info(manifest.info);
  root["format"] = kFormat;
  root["version"] = kVersion;
  root["files"] = std::move(files);
  root["tensors"] = encode_tensors(manifest.tensors);
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
         "metrics_line", "files", "tensors", "digest"},
        {"algorithms", "cpu_kernels", "model_files"}));
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
