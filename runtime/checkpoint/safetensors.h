// The header of a .safetensors file: u64 length N, N bytes of JSON that starts with '{' and may be
// padded with spaces, then the buffer that the tensors share without holes
// (github.com/huggingface/safetensors, "Format"). Parsed as hostile input: sizes are bounded and
// checked for overflow, and no offset leaves the buffer.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

struct SafetensorsTensor {
  std::string key;
  std::string dtype;           // "F32", "BF16", "I64", ...: any that the format knows
  std::vector<int64_t> shape;  // any number of dims
  int64_t begin = 0;           // bytes [begin, end) of the buffer
  int64_t end = 0;
  bool operator==(const SafetensorsTensor&) const = default;
};

struct SafetensorsHeader {
  std::vector<SafetensorsTensor> tensors;  // in the order of the buffer
  std::map<std::string, std::string> metadata;
  int64_t buffer_offset = 0;  // of the buffer in the file, bytes
  int64_t buffer_bytes = 0;

  // Null when there is no such tensor.
  const SafetensorsTensor* find(std::string_view key) const;

 private:
  friend Result<SafetensorsHeader> parse_safetensors_header(std::string_view, int64_t,
                                                            const std::string&);
  std::map<std::string, size_t, std::less<>> index_;  // key -> place in tensors
};

// Bytes of an element; kBadData for a dtype that the format does not know.
Result<int64_t> safetensors_dtype_bytes(std::string_view dtype);

// The JSON behind the length. The tensors must fill `buffer_bytes` exactly. kBadData, naming `file`
// and the tensor.
Result<SafetensorsHeader> parse_safetensors_header(std::string_view json, int64_t buffer_bytes,
                                                   const std::string& file);

// Reads no more than the header. kBadData (also when the file is shorter than its header says),
// kStorage.
Result<SafetensorsHeader> read_safetensors_header(ReadableFile& file, const std::string& path);

// Length and JSON, padded with spaces to a multiple of 8 bytes: what comes before the buffer.
// `tensors` must be in the order of the buffer, without holes (begin and end are written as they
// are). kBadData when a key is not UTF-8; kStorage when it would be longer than readers take.
Result<std::string> encode_safetensors_header(const std::vector<SafetensorsTensor>& tensors,
                                              const std::map<std::string, std::string>& metadata);

}  // namespace leasehold
