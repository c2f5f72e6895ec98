// Reads JSON that may have been damaged. Every access is checked, and an error names the file and
// the place ("manifest.json: tensors[3].pieces[0].begin: ..."). For sources, since it includes
// nlohmann/json.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/base/status.h"

namespace leasehold {

// Parses one JSON value. Fails with kBadData, naming `file`, if the text is not JSON (with line,
// column and reason, or with the kind of file that it is instead), nests deeper than `max_depth` or
// repeats a key.
Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string& file,
                                         int max_depth);

// A JsonCursor points at a value and knows its place. Cursors live on the stack: a parent must
// outlive its children. All errors are kBadData.
class JsonCursor {
 public:
  JsonCursor(const nlohmann::json& value, const std::string& file) : value_(&value), file_(&file) {}

  // Returns an error at this place.
  Status bad(std::string_view what) const;

  // Fails unless this is an object with all of `required` and no other fields than these and
  // `optional`.
  Status expect_fields(std::initializer_list<std::string_view> required,
                       std::initializer_list<std::string_view> optional = {}) const;
  bool has(std::string_view name) const { return value_->contains(name); }
  // Returns a field, which must exist (see expect_fields). `name` must outlive the cursor.
  JsonCursor field(std::string_view name) const;

  Result<int64_t> integer(int64_t minimum = 0, int64_t maximum = INT64_MAX) const;
  Result<uint64_t> unsigned_integer() const;
  Result<double> number(double minimum, double maximum) const;  // accepts an integer too
  Result<bool> boolean() const;
  bool is_null() const { return value_->is_null(); }
  Result<std::string> string() const;
  Result<std::map<std::string, std::string>> string_map() const;
  Result<std::vector<int64_t>> integers() const;  // none negative
  // Fails unless this is an array. element() then returns its elements by index.
  Status expect_array() const;
  size_t size() const { return value_->size(); }
  JsonCursor element(size_t index) const;

 private:
  JsonCursor(const nlohmann::json& value, const JsonCursor* parent, std::string_view name,
             size_t index)
      : value_(&value), file_(parent->file_), parent_(parent), name_(name), index_(index) {}
  std::string place() const;

  const nlohmann::json* value_;
  const std::string* file_;
  const JsonCursor* parent_ = nullptr;
  std::string_view name_;  // of a field; empty for an element
  size_t index_ = 0;
};

}  // namespace leasehold
