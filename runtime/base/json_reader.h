// Reading JSON that somebody else may have damaged: every access is checked and an error names the
// file and the place ("manifest.json: tensors[3].pieces[0].begin: ..."). For sources: brings in
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

// kBadData, naming `file`, when the text is not one JSON value (with line, column and reason, or
// the kind of file that lies there instead), nests deeper than `max_depth` or repeats a key.
Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string& file,
                                         int max_depth);

// A value and its place. Cursors live on the stack: a parent must outlive its children. All errors
// are kBadData.
class JsonCursor {
 public:
  JsonCursor(const nlohmann::json& value, const std::string& file) : value_(&value), file_(&file) {}

  // An error at this place.
  Status bad(std::string_view what) const;

  // The members of an object: all of `required` and none besides these and `optional`.
  Status expect_fields(std::initializer_list<std::string_view> required,
                       std::initializer_list<std::string_view> optional = {}) const;
  bool has(std::string_view name) const { return value_->contains(name); }
  // The member, which must be there (expect_fields). `name` must outlive the cursor.
  JsonCursor field(std::string_view name) const;

  Result<int64_t> integer(int64_t minimum = 0, int64_t maximum = INT64_MAX) const;
  Result<uint64_t> unsigned_integer() const;
  Result<double> number(double minimum, double maximum) const;  // an integer is one too
  Result<bool> boolean() const;
  bool is_null() const { return value_->is_null(); }
  Result<std::string> string() const;
  Result<std::map<std::string, std::string>> string_map() const;
  Result<std::vector<int64_t>> integers() const;  // none negative
  // kBadData unless this is an array; then its elements by index.
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
  std::string_view name_;  // of a member; empty for an element
  size_t index_ = 0;
};

}  // namespace leasehold
