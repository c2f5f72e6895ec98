// Implements open_huggingface_folder: reads config.json and the safetensors next to it, and checks
// that they fit.
#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "models/foreign_model.h"
#include "models/huggingface_config.h"
#include "models/huggingface_index.h"

namespace leasehold {

namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
constexpr int64_t kMaxIndexBytes = int64_t{256} << 20;
constexpr size_t kMaxFiles = 4096;

// Opens the shards, and checks that the folder and the index name the same tensors.
Status open_shards(FileSystem& files, const std::string& directory, ForeignWeights& weights) {
  const std::string path = join_path(directory, kIndex);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(files, path, kMaxIndexBytes));
  LEASEHOLD_ASSIGN_OR_RETURN(const WeightMap weight_map, parse_huggingface_index(text, path));
  std::set<std::string> names;
  for (const auto& [tensor, name] : weight_map) names.insert(name);
  if (names.size() > kMaxFiles)
    return error(Code::kBadData, "{}: {} files, at most {} are read", path, names.size(),
                 kMaxFiles);
  for (const std::string& name : names) {
    const Status added = weights.add_safetensors(files, join_path(directory, name));
    if (!added.ok()) return added.annotated(path);
  }
  for (const auto& [tensor, name] : weight_map) {
    const auto found = weights.tensors().find(tensor);
    if (found == weights.tensors().end() ||
        weights.path_of(found->second) != join_path(directory, name)) {
      return error(Code::kBadData, "{}: tensor '{}' is not in '{}'", path, tensor, name);
    }
  }
  for (const auto& [tensor, location] : weights.tensors()) {
    if (weight_map.contains(tensor)) continue;
    return error(Code::kBadData, "{}: it does not name tensor '{}', which is in {}", path, tensor,
                 weights.path_of(location));
  }
  return ok_status();
}

Result<ForeignWeights> open_weights(FileSystem& files, const std::string& directory) {
  const bool single = files.exists(join_path(directory, kSingle));
  const bool sharded = files.exists(join_path(directory, kIndex));
  if (single && sharded) {
    return error(Code::kBadData, "{} holds both {} and {}: remove the one that is not the model",
                 directory, kSingle, kIndex);
  }
  if (!single && !sharded) {
    return error(Code::kMissingInput,
                 "{}: neither {} nor {}: other formats are not read; in Python, "
                 "model.save_pretrained(FOLDER, safe_serialization=True) writes this one",
                 directory, kSingle, kIndex);
  }
  ForeignWeights weights;
  LEASEHOLD_RETURN_IF_ERROR(single ? weights.add_safetensors(files, join_path(directory, kSingle))
                                   : open_shards(files, directory, weights));
  return weights;
}

// Returns true for a name like "h.12.attn.bias": `before`, a number, `after`.
bool is_numbered(std::string_view name, std::string_view before, std::string_view after) {
  if (!name.starts_with(before) || !name.ends_with(after)) return false;
  if (name.size() <= before.size() + after.size()) return false;
  name = name.substr(before.size(), name.size() - before.size() - after.size());
  return std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

// Returns true for buffers that follow from the configuration.
bool is_buffer(const ModelConfig& config, std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  if (config.family == "gpt2")
    return is_numbered(name, "h.", ".attn.bias") || is_numbered(name, "h.", ".attn.masked_bias");
  return name == "rotary_emb.inv_freq" ||
         is_numbered(name, "layers.", ".self_attn.rotary_emb.inv_freq");
}

// Checks that a tied model's head, if it is stored too, equals the token table.
Status check_tied_head(ForeignModel& model, const std::string& head) {
  const size_t place = model.mapping.parameters.front().tensors.front();
  const ForeignTensor& table = model.mapping.tensors[place];
  LEASEHOLD_ASSIGN_OR_RETURN(const ForeignWeights::Location location,
                             model.weights.find(head, table.shape));
  std::vector<float> in_table, in_head;
  for (int64_t first = 0; first < table.num_elements(); first += kForeignReadElements) {
    const int64_t count = std::min(kForeignReadElements, table.num_elements() - first);
    in_table.resize(static_cast<size_t>(count));
    in_head.resize(static_cast<size_t>(count));
    LEASEHOLD_RETURN_IF_ERROR(
        model.weights.read(model.locations[place], first, count, in_table.data()));
    LEASEHOLD_RETURN_IF_ERROR(model.weights.read(location, first, count, in_head.data()));
    if (std::memcmp(in_table.data(), in_head.data(), in_table.size() * sizeof(float)) != 0) {
      return error(Code::kBadData,
                   "{}: '{}' is not the token table '{}', but the model is tied "
                   "(tie_word_embeddings)",
                   model.weights.path_of(location), head, table.name);
    }
  }
  return ok_status();
}

}  // namespace

Result<ForeignModel> open_huggingface_folder(FileSystem& files, const std::string& directory) {
  const std::string config_path = join_path(directory, "config.json");
  const Result<std::string> text = read_file(files, config_path, kMaxConfigBytes);
  if (text.status().code() == Code::kMissingInput)
    return error(Code::kMissingInput, "{}: no config.json: not a Hugging Face folder", directory);
  LEASEHOLD_RETURN_IF_ERROR(text.status());
  ForeignModel model;
  LEASEHOLD_ASSIGN_OR_RETURN(HuggingFaceConfig config,
                             parse_huggingface_config(*text, config_path));
  model.config = config.model;
  model.passed_over = std::move(config.passed_over);
  model.token_ids = std::move(config.token_ids);
  LEASEHOLD_ASSIGN_OR_RETURN(model.weights, open_weights(files, directory));

  // Checked before anything as large as the configuration says is allocated.
  if (model.config.layers > std::ssize(model.weights.tensors())) {
    return error(Code::kBadData, "{}: {} layers, but the files beside it hold {} tensors",
                 config_path, model.config.layers, model.weights.tensors().size());
  }
  // The bare model, without the class of its head, is stored without the prefix.
  std::string prefix = huggingface_prefix(model.config);
  const bool any = std::ranges::any_of(
      model.weights.tensors(), [&](const auto& entry) { return entry.first.starts_with(prefix); });
  if (!any) prefix.clear();
  model.mapping = map_huggingface(model.config, prefix);
  std::set<std::string_view> used;
  for (const ForeignTensor& tensor : model.mapping.tensors) {
    LEASEHOLD_ASSIGN_OR_RETURN(auto location, model.weights.find(tensor.name, tensor.shape));
    model.locations.push_back(std::move(location));
    used.insert(tensor.name);
  }
  constexpr std::string_view kHead = "lm_head.weight";
  for (const auto& [name, location] : model.weights.tensors()) {
    if (used.contains(name) || is_buffer(model.config, name, prefix)) continue;
    if (name == kHead && model.config.tied) {
      LEASEHOLD_RETURN_IF_ERROR(check_tied_head(model, name));
      continue;
    }
    return error(Code::kBadData,
                 "{}: tensor '{}' belongs to no part of the model that config.json describes",
                 model.weights.path_of(location), name);
  }
  return model;
}

}  // namespace leasehold
