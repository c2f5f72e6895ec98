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
constexpr int64_t kSplitVersion = 2;

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

Status check_order(const std::vector<StoredTensor>& tensors, const std::string& file) {
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (!tensor_less(tensors[i - 1], tensors[i])) {
      return error(Code::kBadData, "{}: {} does not come after {}", file, describe(tensors[i]),
                   describe(tensors[i - 1]));
    }
  }
  return ok_status();
}

Status check_files(const std::vector<ShardFile>& files, const std::string& file) {
  std::set<std::string_view> names;
  for (const ShardFile& shard : files) {
    if (!names.insert(shard.name).second)
      return error(Code::kBadData, "{}: file '{}' twice", file, shard.name);
    if (shard.index_bytes > shard.size_bytes) {
      return error(Code::kBadData, "{}: file '{}' of {} bytes with an index of {}", file,
                   shard.name, shard.size_bytes, shard.index_bytes);
    }
  }
  return ok_status();
}

// The ranges of a box fill it, or it could not be parsed.
Status check_boxes(const Manifest& manifest, const std::string& file) {
  for (const StoredTensor& tensor : manifest.tensors) {
    std::vector<BoxRange> boxes;
    for (const HeldBox& held : tensor.boxes)
      boxes.push_back({held.box, 0, held.box.extent.num_elements()});
    const Status cover = check_cover(tensor.shape, boxes);
    if (!cover.ok()) return cover.annotated(fmt::format("{}: {}", file, describe(tensor)));
  }
  return ok_status();
}

Status check_pieces(const Manifest& manifest, const std::string& file) {
  std::set<std::pair<int64_t, std::string_view>> keys;
  for (const StoredTensor& tensor : manifest.tensors) {
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
  return ok_status();
}

Status check_manifest(const Manifest& manifest, const std::string& file) {
  LEASEHOLD_RETURN_IF_ERROR(check_files(manifest.files, file));
  LEASEHOLD_RETURN_IF_ERROR(check_order(manifest.tensors, file));
  LEASEHOLD_RETURN_IF_ERROR(manifest.version == kSplitVersion ? check_boxes(manifest, file)
                                                              : check_pieces(manifest, file));
  return check_kinds(manifest.tensors, file);
}

Result<int64_t> parse_version(const JsonCursor& top, const json& root) {
  if (!root.is_object() || !top.has("format") || root["format"] != kFormat) {
    return top.bad(fmt::format("not a manifest: \"format\": \"{}\" is expected", kFormat));
  }
  if (top.has("version")) {
    const Result<int64_t> version = top.field("version").integer(1, kSplitVersion);
    if (version.ok()) return version;
  }
  return top.bad(fmt::format(
      "this build reads versions 1 to {} only: use the Leasehold that wrote it", kSplitVersion));
}

}  // namespace

bool tensor_less(const StoredTensor& a, const StoredTensor& b) {
  return std::tie(a.parameter, a.kind) < std::tie(b.parameter, b.kind);
}

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
  root["version"] = manifest.version;
  root["files"] = std::move(files);
  root["tensors"] = manifest.version == kSplitVersion ? encode_held_tensors(manifest.tensors)
                                                      : encode_tensors(manifest.tensors);
  try {
    root["digest"] = digest_of(root).to_hex();
    std::string text = root.dump() + "\n";
    if (std::ssize(text) <= kMaxManifestBytes) return text;
    return error(Code::kStorage,
                 "the manifest of {} files would have {} bytes, and no reader takes more than {}: "
                 "write the checkpoint with fewer ranks",
                 manifest.files.size(), text.size(), kMaxManifestBytes);
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
    LEASEHOLD_ASSIGN_OR_RETURN(manifest.version, parse_version(top, root));
    const bool split = manifest.version == kSplitVersion;
    LEASEHOLD_RETURN_IF_ERROR(top.expect_fields(
        {"format", "version", "step", "seed", "data_position", "lineage", "parent_lineage",
         "fork_step", "generation", "identity", "model", "tokenizer", "arithmetic_class",
         "metrics_line", "files", "tensors", "digest"},
        {"algorithms", "cpu_kernels", "model_files", "skipped_steps", "skipped_in_row"}));
    LEASEHOLD_ASSIGN_OR_RETURN(manifest.info, parse_info(top));
    const JsonCursor files = top.field("files");
    LEASEHOLD_RETURN_IF_ERROR(files.expect_array());
    for (size_t i = 0; i < files.size(); ++i) {
      LEASEHOLD_ASSIGN_OR_RETURN(ShardFile shard, parse_file(files.element(i), split));
      manifest.files.push_back(std::move(shard));
    }
    const auto parse = split ? parse_held_tensors : parse_tensors;
    LEASEHOLD_ASSIGN_OR_RETURN(
        manifest.tensors, parse(top.field("tensors"), static_cast<int64_t>(manifest.files.size())));
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

Result<Manifest> merge_shards(const CheckpointInfo& info, std::vector<ShardPieces> shards) {
  Manifest manifest;
  manifest.info = info;
  std::map<std::pair<std::string, StateKind>, StoredTensor> tensors;
  for (ShardPieces& shard : shards) {
    const auto file = static_cast<int64_t>(manifest.files.size());
    for (StoredTensor& part : shard.tensors) {
      const StoredTensor empty = {part.parameter, part.kind, part.shape, {}, {}};
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
