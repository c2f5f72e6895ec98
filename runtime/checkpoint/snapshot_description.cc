#include "runtime/checkpoint/snapshot_description.h"

#include <utility>

#include "runtime/checkpoint/manifest_json.h"

namespace leasehold {

using nlohmann::json;

namespace {

constexpr const char* kSnapshotFormat = "leasehold-snapshot";
constexpr int64_t kSnapshotVersion = 1;
constexpr int64_t kMaxRanks = int64_t{1} << 24;

}  // namespace

Result<std::string> encode_snapshot(const SnapshotDescription& snapshot) {
  json root = encode_info(snapshot.info);
  root["texts"] = snapshot.texts.to_hex();
  root["format"] = kSnapshotFormat;
  root["version"] = kSnapshotVersion;
  root["world_size"] = snapshot.world_size;
  root["rank"] = snapshot.rank;
  root["file"] = encode_file(snapshot.shard.file);
  root["tensors"] = encode_tensors(snapshot.shard.tensors);
  try {
    root["digest"] = digest_of(root).to_hex();
    return root.dump() + "\n";
  } catch (const json::exception& failure) {
    return not_utf8(failure);
  }
}

Result<SnapshotDescription> parse_snapshot(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(json root, parse_strict_json(text, file, kManifestDepth));
  SnapshotDescription snapshot;
  std::string written_digest;
  {
    const JsonCursor top(root, file);
    const bool known = root.is_object() && top.has("format") && root["format"] == kSnapshotFormat &&
                       top.has("version") && root["version"] == kSnapshotVersion;
    if (!known) {
      return top.bad(fmt::format("\"format\": \"{}\", \"version\": {} is expected", kSnapshotFormat,
                                 kSnapshotVersion));
    }
    LEASEHOLD_RETURN_IF_ERROR(top.expect_fields(
        {"format",
         "version",
         "step",
         "seed",
         "data_position",
         "lineage",
         "parent_lineage",
         "fork_step",
         "generation",
         "identity",
         "model",
         "tokenizer",
         "arithmetic_class",
         "metrics_line",
         "texts",
         "world_size",
         "rank",
         "file",
         "tensors",
         "digest"},
        {"algorithms", "cpu_kernels", "model_files", "skipped_steps", "skipped_in_row"}));
    LEASEHOLD_ASSIGN_OR_RETURN(snapshot.info, parse_info(top));
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string texts, top.field("texts").string());
    const Result<Digest128> digest = Digest128::from_hex(texts);
    if (!digest.ok()) return top.field("texts").bad(digest.status().message());
    snapshot.texts = digest.value();
    LEASEHOLD_ASSIGN_OR_RETURN(snapshot.world_size, top.field("world_size").integer(1, kMaxRanks));
    LEASEHOLD_ASSIGN_OR_RETURN(snapshot.rank,
                               top.field("rank").integer(0, snapshot.world_size - 1));
    LEASEHOLD_ASSIGN_OR_RETURN(snapshot.shard.file, parse_file(top.field("file")));
    LEASEHOLD_ASSIGN_OR_RETURN(snapshot.shard.tensors, parse_tensors(top.field("tensors"), 1));
    LEASEHOLD_ASSIGN_OR_RETURN(written_digest, top.field("digest").string());
  }
  root.erase("digest");
  if (digest_of(root).to_hex() != written_digest) {
    return error(Code::kBadData, "{}: damaged: its digest is not the one that it states", file);
  }
  return snapshot;
}

std::string seal_snapshot(const std::string& description, const SecretKey& key) {
  return description + Mac(key, kSnapshotFormat).add(description).finish() + "\n";
}

Result<std::string> unseal_snapshot(std::string sealed, const SecretKey& key,
                                    const std::string& file) {
  const auto size = std::ssize(sealed) - kSealBytes;
  if (size <= 0 || !sealed.ends_with('\n'))
    return error(Code::kBadData, "{}: no sealed description of a snapshot", file);
  const std::string seal = sealed.substr(static_cast<size_t>(size), Mac::kDigits);
  sealed.resize(static_cast<size_t>(size));
  if (!same_secret(seal, Mac(key, kSnapshotFormat).add(sealed).finish())) {
    return error(Code::kBadData,
                 "{}: its seal is not one of this run's key: damaged, or made by "
                 "another program",
                 file);
  }
  return sealed;
}

}  // namespace leasehold
