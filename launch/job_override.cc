#include "launch/job_override.h"

#include <algorithm>

#include "launch/job_toml.h"

namespace leasehold {

namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t";
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

template <typename Alternative>
bool holds(const JobKey* key) {
  JobFile job;
  return key != nullptr && std::holds_alternative<Alternative>(key->slot(job));
}

Result<JobValue> read_value(const JobKey* key, std::string_view text, const std::string& argument) {
  const bool is_list = holds<std::vector<std::string>*>(key);
  const bool is_text = is_list || key == nullptr || holds<std::string*>(key);
  const bool quoted = text.starts_with('"') || text.starts_with('\'');
  const bool must_be_toml = quoted || (is_list && text.starts_with('['));
  if (is_text && !must_be_toml) return JobValue{JobValue::Text{std::string(text)}};
  const auto value = read_toml_value(text);
  if (value.ok()) {
    // A list that is quoted as a whole is read like one without quotes.
    const auto* string = std::get_if<std::string>(&value.value().value);
    if (is_list && string != nullptr) return JobValue{JobValue::Text{*string}};
    return value;
  }
  if (!must_be_toml) return JobValue{JobValue::Text{std::string(text)}};
  return error(Code::kBadConfig,
               "--set {}: a value that begins with {} must be {} of TOML, with nothing after it "
               "({}); write a text that begins with a quote in single quotes",
               argument, text.front(), quoted ? "one string" : "one array",
               value.status().message());
}

}  // namespace

Result<JobOverride> parse_job_override(const std::string& text) {
  const std::string_view view = text;
  const size_t equals = view.find('=');
  const std::string_view key_name = trimmed(view.substr(0, std::min(equals, view.size())));
  const size_t dot = key_name.find('.');
  if (equals == std::string_view::npos || dot == std::string_view::npos) {
    return error(Code::kUsage, "--set {}: expected table.key=value, such as batch.sequences=8",
                 text);
  }
  JobOverride made{std::string(key_name.substr(0, dot)), std::string(key_name.substr(dot + 1)), {}};
  LEASEHOLD_ASSIGN_OR_RETURN(made.value, read_value(find_job_key(made.table, made.name),
                                                    trimmed(view.substr(equals + 1)), text));
  return made;
}

}  // namespace leasehold
