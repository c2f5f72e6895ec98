#include "runtime/base/json_reader.h"

#include <algorithm>
#include <set>

#include "runtime/base/file_kind.h"
#include "runtime/base/json_problem.h"

namespace leasehold {

using nlohmann::json;

Result<json> parse_strict_json(std::string_view text, const std::string& file, int max_depth) {
  std::vector<std::set<std::string>> keys;  // of the open objects, outermost first
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    const bool opens =
        event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth >= max_depth) {
      throw StatusError(error(Code::kBadData, "{}: nested deeper than {} levels", file, max_depth));
    }
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) {
        throw StatusError(
            error(Code::kBadData, "{}: the key '{}' occurs twice in one object", file, key));
      }
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const StatusError& failure) {
    return failure.status();
  } catch (const json::exception& failure) {
    LEASEHOLD_RETURN_IF_ERROR(check_file_kind(text, file, "JSON"));
    return error(Code::kBadData, "{}: not valid JSON: {}", file, json_problem(failure));
  }
}

std::string JsonCursor::place() const {
  if (parent_ == nullptr) return "";
  const std::string before = parent_->place();
  if (name_.empty()) return fmt::format("{}[{}]", before, index_);
  return before.empty() ? std::string(name_) : fmt::format("{}.{}", before, name_);
}

Status JsonCursor::bad(std::string_view what) const {
  const std::string where = place();
  return where.empty() ? error(Code::kBadData, "{}: {}", *file_, what)
                       : error(Code::kBadData, "{}: {}: {}", *file_, where, what);
}

Status JsonCursor::expect_fields(std::initializer_list<std::string_view> required,
                                 std::initializer_list<std::string_view> optional) const {
  if (!value_->is_object()) return bad("an object is expected");
  for (const std::string_view name : required) {
    if (!value_->contains(name)) return bad(fmt::format("the field '{}' is missing", name));
  }
  for (const auto& [name, member] : value_->items()) {
    // clang 14 cannot capture a structured binding directly.
    const auto known = [&field = name](const auto& names) {
      return std::ranges::find(names, field) != names.end();
    };
    if (!known(required) && !known(optional)) return bad(fmt::format("unknown field '{}'", name));
  }
  return ok_status();
}

JsonCursor JsonCursor::field(std::string_view name) const {
  return {value_->at(std::string(name)), this, name, 0};
}

JsonCursor JsonCursor::element(size_t index) const { return {value_->at(index), this, {}, index}; }

Result<int64_t> JsonCursor::integer(int64_t minimum, int64_t maximum) const {
  const bool fits =
      value_->is_number_integer() && (!value_->is_number_unsigned() ||
                                      value_->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  if (!fits) return bad("an integer is expected");
  const auto number = value_->get<int64_t>();
  if (number < minimum || number > maximum) {
    return bad(fmt::format("{} is not between {} and {}", number, minimum, maximum));
  }
  return number;
}

Result<uint64_t> JsonCursor::unsigned_integer() const {
  if (!value_->is_number_unsigned()) return bad("an integer of at least 0 is expected");
  return value_->get<uint64_t>();
}

Result<double> JsonCursor::number(double minimum, double maximum) const {
  if (!value_->is_number()) return bad("a number is expected");
  const auto number = value_->get<double>();
  if (!(number >= minimum && number <= maximum)) {
    return bad(fmt::format("{} is not between {} and {}", number, minimum, maximum));
  }
  return number;
}

Result<bool> JsonCursor::boolean() const {
  if (!value_->is_boolean()) return bad("true or false is expected");
  return value_->get<bool>();
}

Result<std::string> JsonCursor::string() const {
  if (!value_->is_string()) return bad("a string is expected");
  return value_->get<std::string>();
}

Result<std::map<std::string, std::string>> JsonCursor::string_map() const {
  if (!value_->is_object()) return bad("an object is expected");
  std::map<std::string, std::string> map;
  for (const auto& [name, member] : value_->items()) {
    if (!member.is_string()) return bad(fmt::format("'{}' must be a string", name));
    map[name] = member.get<std::string>();
  }
  return map;
}

Result<std::vector<int64_t>> JsonCursor::integers() const {
  LEASEHOLD_RETURN_IF_ERROR(expect_array());
  std::vector<int64_t> numbers;
  numbers.reserve(size());
  for (size_t i = 0; i < size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const int64_t number, element(i).integer());
    numbers.push_back(number);
  }
  return numbers;
}

Status JsonCursor::expect_array() const {
  return value_->is_array() ? ok_status() : bad("an array is expected");
}

}  // namespace leasehold
