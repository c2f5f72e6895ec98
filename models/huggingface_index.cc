#include "models/huggingface_index.h"

#include <algorithm>

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

constexpr int kIndexDepth = 8;

// Returns true for a name that cannot lead out of the folder.
bool is_plain_safetensors_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  };
  return name.ends_with(".safetensors") && !name.starts_with('.') &&
         std::ranges::all_of(name, plain);
}

}  // namespace

Result<WeightMap> parse_huggingface_index(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const nlohmann::json root, parse_strict_json(text, file, kIndexDepth));
  const JsonCursor top(root, file);
  LEASEHOLD_RETURN_IF_ERROR(top.expect_fields({"weight_map"}, {"metadata"}));
  LEASEHOLD_ASSIGN_OR_RETURN(const WeightMap weight_map, top.field("weight_map").string_map());
  if (weight_map.empty()) return top.field("weight_map").bad("it names no tensor");
  for (const auto& [tensor, name] : weight_map) {
    if (is_plain_safetensors_name(name)) continue;
    return top.field("weight_map")
        .bad(fmt::format("tensor '{}' is in '{}', which is not the plain name of a .safetensors "
                         "file",
                         tensor, name));
  }
  return weight_map;
}

std::string encode_huggingface_index(const WeightMap& weight_map, int64_t total_bytes) {
  nlohmann::ordered_json root;
  root["metadata"] = {{"total_size", total_bytes}};
  root["weight_map"] = weight_map;
  return root.dump(2) + "\n";
}

}  // namespace leasehold
