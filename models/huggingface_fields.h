// The fields of a config.json. The code that reads a field asks for it once. This tells three kinds
// apart: fields that Leasehold reads, fields that change nothing, and fields that could change what
// the model computes. Knows nothing of any family. For sources, since it includes nlohmann/json.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json_reader.h"

namespace leasehold {

// A ConfigFields collects refusals instead of stopping at the first, so that one message names them
// all. A broken field (of another type, out of range) is a kBadData error at once. Keeps references
// to `root` and `file`.
class ConfigFields {
 public:
  ConfigFields(const nlohmann::json& root, const std::string& file)
      : root_(root), top_(root, file), file_(file) {}

  // Returns true for a field that is set, and marks it as read. Null counts as absent: transformers
  // writes null for a field that is not set.
  bool has(const std::string& name);
  bool holds(const std::string& name) const { return root_.contains(name); }  // true for null too
  const nlohmann::json& value(const std::string& name) const { return root_.at(name); }
  JsonCursor at(std::string_view name) const { return top_.field(name); }

  // Reads a size, 1 or more, under its name or under another name that transformers gives it.
  // kBadData if it is missing; refused if the two names differ in value.
  Status size(const char* name, int64_t& value, const char* other_name = nullptr);
  // Read a number and a boolean. `value` does not change if the field is absent.
  Status number(const char* name, double& value);
  Status flag(const char* name, bool& value);
  // Refuses a field that is present and has none of `values`. The message names the first of them.
  void fixed(const char* name, std::initializer_list<nlohmann::json> values,
             std::string_view why = {});
  // Marks fields as known to change nothing, whatever they hold.
  void pass_over(std::initializer_list<std::string_view> names);

  // Adds a refusal: a field with its value and Leasehold's alternative, or any text.
  void refuse(const std::string& name, std::string_view why);
  void refuse(std::string words) { refused_.push_back(std::move(words)); }

  // Refuses the fields that were not read, unless they are harmless or set nothing (null, or an
  // empty list, object or text). kBadConfig with all refusals. `passed_over` receives the names of
  // the fields that were not read, sorted.
  Status finish(std::vector<std::string>& passed_over);

 private:
  const nlohmann::json& root_;
  JsonCursor top_;
  const std::string& file_;
  std::set<std::string, std::less<>> read_, harmless_;
  std::vector<std::string> refused_;
};

}  // namespace leasehold
