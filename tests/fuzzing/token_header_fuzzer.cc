// Fuzzes token headers. The first eight bytes are the size that the file claims to have; the rest
// is its beginning.
#include <cstring>

#include "runtime/data/token_file.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int64_t file_bytes = 0;
  if (size < sizeof file_bytes) return 0;
  std::memcpy(&file_bytes, data, sizeof file_bytes);
  if (file_bytes < 0) return 0;  // no file system reports a negative size
  const std::span<const uint8_t> bytes(data + sizeof file_bytes, size - sizeof file_bytes);
  const auto header = parse_token_header(bytes, file_bytes, "tokens.bin");
  if (!header.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(header.status().code() == Code::kBadData);
    LEASEHOLD_FUZZ_REQUIRE(header.status().message().starts_with("tokens.bin: "));
    return 0;
  }
  const auto [num_tokens, token_bytes] = header.value();
  LEASEHOLD_FUZZ_REQUIRE(num_tokens >= 0 && (token_bytes == 2 || token_bytes == 4));
  LEASEHOLD_FUZZ_REQUIRE(static_cast<__int128>(num_tokens) * token_bytes + kTokenHeaderBytes ==
                         file_bytes);
  // A header from the writer is read in the same way.
  const std::string again = make_token_header(num_tokens, token_bytes);
  LEASEHOLD_FUZZ_REQUIRE(std::memcmp(again.data(), bytes.data(), 16) == 0);
  return 0;
}

}  // namespace leasehold
