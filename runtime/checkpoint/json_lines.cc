#include "runtime/checkpoint/json_lines.h"

#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

namespace leasehold {

namespace {

constexpr int64_t kBlockBytes = int64_t{4} << 20;
constexpr size_t kMaxLineBytes = size_t{16} << 20;

}  // namespace

Result<int64_t> for_each_line(
    FileSystem& files, const std::string& path,
    const std::function<void(std::string_view line, int64_t offset)>& line, int64_t begin_bytes) {
  Result<std::unique_ptr<ReadableFile>> file = files.open(path);
  if (file.status().code() == Code::kMissingInput) return int64_t{0};
  if (!file.ok()) return file.status();
  const int64_t size_bytes = file.value()->size_bytes();
  std::string pending;  // from line_offset on, without a newline so far
  std::string block;
  int64_t line_offset = begin_bytes;
  for (int64_t offset = begin_bytes; offset < size_bytes; offset += std::ssize(block)) {
    block.resize(static_cast<size_t>(std::min(kBlockBytes, size_bytes - offset)));
    LEASEHOLD_RETURN_IF_ERROR(file.value()->read_at(offset, block.data(), std::ssize(block)));
    size_t begin = 0;
    for (size_t end = 0; (end = block.find('\n', begin)) != std::string::npos; begin = end + 1) {
      pending.append(block, begin, end - begin);
      line(pending, line_offset);
      line_offset += std::ssize(pending) + 1;
      pending.clear();
    }
    pending.append(block, begin);
    if (pending.size() > kMaxLineBytes) {
      return error(Code::kBadData,
                   "{}: a line of more than {} bytes at byte {}: not a log of JSON lines", path,
                   kMaxLineBytes, line_offset);
    }
  }
  return line_offset;
}

std::optional<int64_t> find_integer(std::string_view line, std::string_view name) {
  const std::string key = fmt::format("\"{}\":", name);
  const size_t at = line.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  const char* begin = line.data() + at + key.size();
  const char* const end = line.data() + line.size();
  while (begin != end && *begin == ' ') ++begin;
  int64_t value = 0;
  const auto [stop, failure] = std::from_chars(begin, end, value);
  return failure == std::errc() && value >= 0 ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> find_step(std::string_view line) { return find_integer(line, "step"); }

bool is_json_object(std::string_view line) {
  const auto parsed = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  return parsed.is_object();
}

std::optional<std::string> member_text(std::string_view line, const std::string& name) {
  const auto parsed = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object() || !parsed.contains(name)) return std::nullopt;
  return parsed[name].dump();
}

std::string event_line(const std::string& time, int64_t generation, const std::string& event,
                       const std::string& reason,
                       const std::vector<std::pair<std::string, std::string>>& details) {
  nlohmann::ordered_json object = {
      {"time", time}, {"generation", generation}, {"event", event}, {"reason", reason}};
  for (const auto& [name, value] : details) object[name] = value;
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace leasehold
