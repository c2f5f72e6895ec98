#include "models/huggingface_fields.h"

#include <algorithm>

namespace leasehold {

namespace {

using nlohmann::json;

constexpr int64_t kLargestSize = int64_t{1} << 40;  // complete_model_config is stricter

std::string shortened(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

bool sets_nothing(const json& value) {
  return value.is_null() || (value.is_structured() && value.empty()) || value == "";
}

}  // namespace

bool ConfigFields::has(const std::string& name) {
  read_.insert(name);
  const auto found = root_.find(name);
  return found != root_.end() && !found->is_null();
}

Status ConfigFields::size(const char* name, int64_t& value, const char* other_name) {
  const bool is_named = has(name);
  const bool is_named_otherwise = other_name != nullptr && has(other_name);
  if (!is_named && !is_named_otherwise)
    return error(Code::kBadData, "{}: the field '{}' is missing", file_, name);
  LEASEHOLD_ASSIGN_OR_RETURN(value, at(is_named ? name : other_name).integer(1, kLargestSize));
  if (is_named && is_named_otherwise && root_.at(other_name) != root_.at(name))
    refuse(other_name, fmt::format("it means the same as \"{}\", which is {}", name, value));
  return ok_status();
}

Status ConfigFields::number(const char* name, double& value) {
  if (!has(name)) return ok_status();
  LEASEHOLD_ASSIGN_OR_RETURN(value, at(name).number(0, 1e30));
  return ok_status();
}

Status ConfigFields::flag(const char* name, bool& value) {
  if (!has(name)) return ok_status();
  LEASEHOLD_ASSIGN_OR_RETURN(value, at(name).boolean());
  return ok_status();
}

void ConfigFields::fixed(const char* name, std::initializer_list<json> values,
                         std::string_view why) {
  if (!has(name)) return;
  if (std::ranges::find(values, root_.at(name)) != values.end()) return;
  refuse(name, why.empty() ? fmt::format("Leasehold has {} only", values.begin()->dump())
                           : std::string(why));
}

void ConfigFields::pass_over(std::initializer_list<std::string_view> names) {
  harmless_.insert(names.begin(), names.end());
}

void ConfigFields::refuse(const std::string& name, std::string_view why) {
  refused_.push_back(
      fmt::format("\"{}\": {} is not supported: {}", name, shortened(root_.at(name)), why));
}

Status ConfigFields::finish(std::vector<std::string>& passed_over) {
  for (const auto& [name, value] : root_.items()) {
    if (read_.contains(name)) continue;
    if (harmless_.contains(name) || sets_nothing(value)) {
      passed_over.push_back(name);
    } else {
      refuse(name,
             "Leasehold does not know this field, and it could change what the model computes; if "
             "it does not, remove it from the file");
    }
  }
  std::ranges::sort(passed_over);
  if (refused_.empty()) return ok_status();
  if (refused_.size() == 1) return error(Code::kBadConfig, "{}: {}", file_, refused_.front());
  return error(Code::kBadConfig, "{}: {} things that Leasehold does not have:\n  {}", file_,
               refused_.size(), fmt::join(refused_, "\n  "));
}

}  // namespace leasehold
