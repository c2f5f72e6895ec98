#include "launch/job_schema.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

// A visitor for JobSlot and JobValue, made of lambdas.
template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

// Returns a key's slot in a job that is only read through it.
JobSlot slot_of(const JobKey& key, const JobFile& job) {
  return key.slot(const_cast<JobFile&>(job));
}

const JobFile& default_job() {
  static const JobFile job;
  return job;
}

std::string type_of(const JobKey& key) {
  return std::visit(
      Overloaded{[](bool*) { return std::string("boolean"); },
                 [](int64_t*) { return std::string("integer"); },
                 [](double*) { return std::string("number"); },
                 [&](std::string*) { return std::string(key.is_path ? "path" : "string"); },
                 [](std::vector<std::string>*) { return std::string("list of strings"); }},
      slot_of(key, default_job()));
}

std::string with_article(const std::string& type) {
  return (type == "integer" ? "an " : "a ") + type;
}

// Returns `text` as a TOML basic string. Control characters were refused before.
std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

std::string range_in_words(const JobKey& key) {
  if (!key.choices.empty()) return fmt::format("`{}`", fmt::join(key.choices, "`, `"));
  const JobRange& range = key.range;
  const bool low = std::isfinite(range.low);
  const bool high = std::isfinite(range.high);
  if (low && high && !range.low_excluded && !range.high_excluded) {
    return fmt::format("{:.0f} to {:.0f}", range.low, range.high);
  }
  std::string words;
  if (low) words = fmt::format("{} {}", range.low_excluded ? "above" : "at least", range.low);
  if (low && high) words += ", ";
  if (high) words += fmt::format("{} {}", range.high_excluded ? "below" : "at most", range.high);
  return words;
}

bool is_inside(const JobRange& range, double value) {
  if (std::isnan(value) || std::isinf(value)) return false;
  if (range.low_excluded ? value <= range.low : value < range.low) return false;
  return range.high_excluded ? value < range.high : value <= range.high;
}

std::string value_in_words(const JobValue& value) {
  return std::visit(
      Overloaded{[](bool held) { return fmt::format("the boolean {}", held); },
                 [](int64_t held) { return fmt::format("the integer {}", held); },
                 [](double held) { return fmt::format("the number {}", held); },
                 [](const std::string& held) { return fmt::format("the string \"{}\"", held); },
                 [](const std::vector<std::string>&) { return std::string("a list of strings"); },
                 [](const JobValue::Other& held) { return std::string(held.type); },
                 [](const JobValue::Text& held) { return fmt::format("'{}'", held.text); }},
      value.value);
}

template <typename Number>
bool parse_whole(std::string_view text, Number& number) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc() && end == text.data() + text.size();
}

std::vector<std::string> split_at_spaces(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

// Each stores `value` and returns true, or returns false if `value` is not of the slot's type.
bool store(const JobValue& value, bool* slot) {
  if (const auto* boolean = std::get_if<bool>(&value.value)) {
    *slot = *boolean;
    return true;
  }
  const auto* text = std::get_if<JobValue::Text>(&value.value);
  if (text == nullptr || (text->text != "true" && text->text != "false")) return false;
  *slot = text->text == "true";
  return true;
}

bool store(const JobValue& value, int64_t* slot) {
  if (const auto* integer = std::get_if<int64_t>(&value.value)) {
    *slot = *integer;
    return true;
  }
  const auto* text = std::get_if<JobValue::Text>(&value.value);
  return text != nullptr && parse_whole(text->text, *slot);
}

bool store(const JobValue& value, double* slot) {
  if (const auto* number = std::get_if<double>(&value.value)) {
    *slot = *number;
    return true;
  }
  if (const auto* integer = std::get_if<int64_t>(&value.value)) {
    *slot = static_cast<double>(*integer);
    return true;
  }
  const auto* text = std::get_if<JobValue::Text>(&value.value);
  return text != nullptr && parse_whole(text->text, *slot);
}

bool store(const JobValue& value, std::string* slot) {
  if (const auto* string = std::get_if<std::string>(&value.value)) {
    *slot = *string;
    return true;
  }
  const auto* text = std::get_if<JobValue::Text>(&value.value);
  if (text != nullptr) *slot = text->text;
  return text != nullptr;
}

bool store(const JobValue& value, std::vector<std::string>* slot) {
  if (const auto* list = std::get_if<std::vector<std::string>>(&value.value)) {
    *slot = *list;
    return true;
  }
  const auto* text = std::get_if<JobValue::Text>(&value.value);
  if (text != nullptr) *slot = split_at_spaces(text->text);
  return text != nullptr;
}

Status check_number(const JobKey& key, double value, const JobValue& given) {
  if (is_inside(key.range, value)) return ok_status();
  const std::string words = range_in_words(key);
  return error(Code::kBadConfig, "{}: {} is out of range; it must be {}", key.full_name(),
               value_in_words(given), words.empty() ? "finite" : words);
}

Status check_string(const JobKey& key, const std::string& value) {
  if (value.empty()) {
    return error(Code::kBadConfig, "{} is empty; {}", key.full_name(),
                 key.required ? "it needs a value" : "leave the key out instead");
  }
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      return error(Code::kBadConfig, "{} contains the control character {:#04x}; remove it",
                   key.full_name(), static_cast<unsigned char>(c));
    }
  }
  if (key.choices.empty() ||
      std::find(key.choices.begin(), key.choices.end(), value) != key.choices.end()) {
    return ok_status();
  }
  return error(Code::kBadConfig, "{}: there is no \"{}\"; it must be one of \"{}\"",
               key.full_name(), value, fmt::join(key.choices, "\", \""));
}

std::string default_in_words(const JobKey& key) {
  if (key.required) return "required";
  if (!key.computed_default.empty()) return std::string(key.computed_default);
  return fmt::format("`{}`", job_value_toml(key, default_job()));
}

}  // namespace

std::string JobKey::full_name() const { return fmt::format("{}.{}", table, name); }

Status assign_job_value(const JobKey& key, const JobValue& value, JobFile& job) {
  const JobSlot slot = key.slot(job);
  if (!std::visit([&](auto* place) { return store(value, place); }, slot)) {
    return error(Code::kBadConfig, "{}: expected {}, got {}", key.full_name(),
                 with_article(type_of(key)), value_in_words(value));
  }
  return std::visit(Overloaded{[](bool*) { return ok_status(); },
                               [&](int64_t* place) {
                                 return check_number(key, static_cast<double>(*place), value);
                               },
                               [&](double* place) { return check_number(key, *place, value); },
                               [&](std::string* place) { return check_string(key, *place); },
                               [&](std::vector<std::string>* place) {
                                 for (const std::string& element : *place) {
                                   LEASEHOLD_RETURN_IF_ERROR(check_string(key, element));
                                 }
                                 return ok_status();
                               }},
                    slot);
}

std::string job_value_text(const JobKey& key, const JobFile& job) {
  return std::visit(Overloaded{[](bool* held) { return std::string(*held ? "true" : "false"); },
                               [](int64_t* held) { return std::to_string(*held); },
                               [](double* held) { return fmt::format("{}", *held); },
                               [](std::string* held) { return *held; },
                               [](std::vector<std::string>* held) {
                                 return fmt::format("{}", fmt::join(*held, " "));
                               }},
                    slot_of(key, job));
}

std::string job_value_toml(const JobKey& key, const JobFile& job) {
  return std::visit(Overloaded{[&](auto*) { return job_value_text(key, job); },
                               [](std::string* held) { return in_quotes(*held); },
                               [](std::vector<std::string>* held) {
                                 std::vector<std::string> elements;
                                 for (const auto& element : *held)
                                   elements.push_back(in_quotes(element));
                                 return fmt::format("[{}]", fmt::join(elements, ", "));
                               }},
                    slot_of(key, job));
}

std::string job_keys_markdown() {
  std::string text =
      "| Key | Type | Default | Values | Fixed on resume | Meaning |\n"
      "|---|---|---|---|---|---|\n";
  for (const JobKey& key : job_keys()) {
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", key.full_name(), type_of(key),
                        default_in_words(key), range_in_words(key), key.identity ? "yes" : "",
                        key.meaning);
  }
  return text;
}

}  // namespace leasehold
