// Fuzzes .safetensors files with any bytes: they are refused, or give a header whose tensors lie
// inside the buffer and which survives writing.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "runtime/checkpoint/safetensors.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

class BytesFile : public ReadableFile {
 public:
  explicit BytesFile(std::string_view bytes) : bytes_(bytes) {}
  int64_t size_bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  Status read_at(int64_t offset, void* out, int64_t size_bytes) override {
    if (offset < 0 || size_bytes < 0 || offset > this->size_bytes() - size_bytes) {
      return error(Code::kBadData, "ends at byte {}", bytes_.size());
    }
    std::memcpy(out, bytes_.data() + offset, static_cast<size_t>(size_bytes));
    return ok_status();
  }

 private:
  std::string_view bytes_;
};

void try_file(std::string_view bytes) {
  BytesFile file(bytes);
  const Result<SafetensorsHeader> header = read_safetensors_header(file, "fuzz");
  if (!header.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(header.status().code() == Code::kBadData &&
                           !header.status().message().empty());
    return;
  }
  LEASEHOLD_FUZZ_REQUIRE(header->buffer_offset + header->buffer_bytes == file.size_bytes());
  int64_t filled = 0;
  for (const SafetensorsTensor& tensor : header->tensors) {
    LEASEHOLD_FUZZ_REQUIRE(tensor.begin == filled && tensor.end >= tensor.begin &&
                           tensor.end <= header->buffer_bytes);
    LEASEHOLD_FUZZ_REQUIRE(header->find(tensor.key) == &tensor);
    filled = tensor.end;
  }
  LEASEHOLD_FUZZ_REQUIRE(filled == header->buffer_bytes);

  const Result<std::string> written = encode_safetensors_header(header->tensors, header->metadata);
  LEASEHOLD_FUZZ_REQUIRE(written.ok());
  const std::string_view json = std::string_view(*written).substr(sizeof(uint64_t));
  const Result<SafetensorsHeader> again =
      parse_safetensors_header(json, header->buffer_bytes, "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && again->tensors == header->tensors &&
                         again->metadata == header->metadata);
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  leasehold::try_file({reinterpret_cast<const char*>(data), size});
  return 0;
}
