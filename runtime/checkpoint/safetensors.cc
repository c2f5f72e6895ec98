#include "runtime/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "runtime/base/file_kind.h"
#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr int kHeaderDepth = 3;                   // header, tensor, its lists

constexpr std::array<std::pair<std::string_view, int64_t>, 15> kDtypes = {{{"BOOL", 1},
                                                                           {"U8", 1},
                                                                           {"I8", 1},
                                                                           {"F8_E5M2", 1},
                                                                           {"F8_E4M3", 1},
                                                                           {"U16", 2},
                                                                           {"I16", 2},
                                                                           {"F16", 2},
                                                                           {"BF16", 2},
                                                                           {"U32", 4},
                                                                           {"I32", 4},
                                                                           {"F32", 4},
                                                                           {"U64", 8},
                                                                           {"I64", 8},
                                                                           {"F64", 8}}};

Result<SafetensorsTensor> parse_tensor(const std::string& key, const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"dtype", "shape", "data_offsets"}));
  SafetensorsTensor tensor;
  tensor.key = key;
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.dtype, at.field("dtype").string());
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.shape, at.field("shape").integers());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<int64_t> offsets,
                             at.field("data_offsets").integers());
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    return at.field("data_offsets").bad("[begin, end), begin not after end, is expected");
  tensor.begin = offsets[0];
  tensor.end = offsets[1];

  const Result<int64_t> element_bytes = safetensors_dtype_bytes(tensor.dtype);
  if (!element_bytes.ok()) return at.bad(element_bytes.status().message());
  int64_t bytes = element_bytes.value();
  for (const int64_t extent : tensor.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      return at.bad("the shape has more bytes than 63 bits can count");
  }
  if (bytes != tensor.end - tensor.begin) {
    return at.bad(fmt::format("shape and dtype need {} bytes, data_offsets hold {}", bytes,
                              tensor.end - tensor.begin));
  }
  return tensor;
}

// The tensors, in the order of the buffer, must fill it without hole or overlap.
Status check_fill(const std::vector<SafetensorsTensor>& tensors, int64_t buffer_bytes,
                  const std::string& file) {
  int64_t filled = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.begin != filled) {
      return error(Code::kBadData,
                   "{}: tensor '{}' starts at byte {} of the buffer where {} is expected ({})",
                   file, tensor.key, tensor.begin, filled,
                   tensor.begin < filled ? "overlap" : "hole");
    }
    filled = tensor.end;
  }
  if (filled != buffer_bytes) {
    return error(Code::kBadData, "{}: the tensors end at byte {} of the buffer, the file at {}{}",
                 file, filled, buffer_bytes, filled > buffer_bytes ? " (truncated?)" : "");
  }
  return ok_status();
}

}  // namespace

const SafetensorsTensor* SafetensorsHeader::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &tensors[found->second];
}

Result<int64_t> safetensors_dtype_bytes(std::string_view dtype) {
  for (const auto& [name, bytes] : kDtypes) {
    if (dtype == name) return bytes;
  }
  return error(Code::kBadData, "unknown dtype '{}'", dtype);
}

Result<SafetensorsHeader> parse_safetensors_header(std::string_view text, int64_t buffer_bytes,
                                                   const std::string& file) {
  if (!text.starts_with('{'))
    return error(Code::kBadData, "{}: the safetensors header does not start with '{{'", file);
  LEASEHOLD_ASSIGN_OR_RETURN(const nlohmann::json root,
                             parse_strict_json(text, file, kHeaderDepth));
  const JsonCursor top(root, file);
  SafetensorsHeader header;
  header.buffer_bytes = buffer_bytes;
  header.buffer_offset = static_cast<int64_t>(sizeof(uint64_t) + text.size());
  header.tensors.reserve(root.size());
  for (const auto& [key, value] : root.items()) {
    const JsonCursor at = top.field(key);
    if (key == "__metadata__") {
      LEASEHOLD_ASSIGN_OR_RETURN(header.metadata, at.string_map());
    } else {
      LEASEHOLD_ASSIGN_OR_RETURN(SafetensorsTensor tensor, parse_tensor(key, at));
      header.tensors.push_back(std::move(tensor));
    }
  }
  std::ranges::sort(header.tensors, [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return std::tie(a.begin, a.end, a.key) < std::tie(b.begin, b.end, b.key);
  });
  LEASEHOLD_RETURN_IF_ERROR(check_fill(header.tensors, buffer_bytes, file));
  for (size_t i = 0; i < header.tensors.size(); ++i) header.index_[header.tensors[i].key] = i;
  return header;
}

namespace {

// Names the file that lies there instead, if its first bytes tell. A good file's length may look
// like another format's first bytes, so the first brace decides.
Status check_is_safetensors(ReadableFile& file, const std::string& path) {
  std::string head(std::min(kFileKindBytes, static_cast<size_t>(file.size_bytes())), '\0');
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(0, head.data(), static_cast<int64_t>(head.size())));
  if (head.size() > sizeof(uint64_t) && head[sizeof(uint64_t)] == '{') return ok_status();
  return check_file_kind(head, path, "a safetensors file");
}

}  // namespace

Result<SafetensorsHeader> read_safetensors_header(ReadableFile& file, const std::string& path) {
  LEASEHOLD_RETURN_IF_ERROR(check_is_safetensors(file, path));
  unsigned char prefix[sizeof(uint64_t)];
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(0, prefix, sizeof prefix));
  uint64_t length = 0;
  for (size_t i = sizeof prefix; i-- > 0;) length = length << 8 | prefix[i];
  const int64_t rest = file.size_bytes() - static_cast<int64_t>(sizeof prefix);
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    return error(Code::kBadData,
                 "{}: a header of {} bytes, the format allows {} (not a safetensors file?); "
                 "download or make it again",
                 path, length, kMaxHeaderBytes);
  }
  const auto header_bytes = static_cast<int64_t>(length);
  if (header_bytes > rest) {
    return error(Code::kBadData,
                 "{}: a header of {} bytes in a file of {} (truncated?); download or make it again",
                 path, length, file.size_bytes());
  }
  std::string text(static_cast<size_t>(header_bytes), '\0');
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(sizeof prefix, text.data(), header_bytes));
  return parse_safetensors_header(text, rest - header_bytes, path);
}

Result<std::string> encode_safetensors_header(const std::vector<SafetensorsTensor>& tensors,
                                              const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  try {
    if (!metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(metadata).dump() + ",";
    for (const SafetensorsTensor& tensor : tensors) {
      text += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}},",
                          nlohmann::json(tensor.key).dump(), tensor.dtype,
                          nlohmann::json(tensor.shape).dump(), tensor.begin, tensor.end);
    }
  } catch (const nlohmann::json::exception& failure) {
    return error(Code::kBadData, "a safetensors header cannot hold a name that is not UTF-8: {}",
                 failure.what());
  }
  if (text.back() == ',') text.pop_back();
  text += "}";
  while (text.size() % 8 != 0) text += ' ';
  if (std::ssize(text) > kMaxHeaderBytes) {
    return error(Code::kStorage,
                 "a safetensors header of {} tensors would have {} bytes, and no reader takes more "
                 "than {}: write more files, each with fewer tensors",
                 tensors.size(), text.size(), kMaxHeaderBytes);
  }
  std::string bytes;
  for (size_t i = 0; i < sizeof(uint64_t); ++i)
    bytes += static_cast<char>(text.size() >> (8 * i) & 0xff);
  return bytes + text;
}

}  // namespace leasehold
