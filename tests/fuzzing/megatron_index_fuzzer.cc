// Fuzzes Megatron's .idx files. The first eight bytes are the size of the .bin next to it.
#include <cstring>
#include <vector>

#include "runtime/data/megatron_index.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int64_t bin_bytes = 0;
  if (size < sizeof bin_bytes) return 0;
  std::memcpy(&bin_bytes, data, sizeof bin_bytes);
  if (bin_bytes < 0) return 0;  // no file system reports a negative size
  const auto index =
      MegatronIndex::parse({data + sizeof bin_bytes, size - sizeof bin_bytes}, bin_bytes, "d.idx");
  if (!index.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(index.status().code() == Code::kBadData);
    LEASEHOLD_FUZZ_REQUIRE(index.status().message().starts_with("d.idx: "));
    return 0;
  }
  const MegatronIndex& good = index.value();
  LEASEHOLD_FUZZ_REQUIRE(static_cast<__int128>(good.num_tokens()) * good.token_bytes() ==
                         bin_bytes);
  LEASEHOLD_FUZZ_REQUIRE(good.document_begin(0) == 0);
  for (int64_t i = 0; i < good.num_documents(); ++i) {
    LEASEHOLD_FUZZ_REQUIRE(good.document_begin(i) <= good.document_begin(i + 1));
  }
  LEASEHOLD_FUZZ_REQUIRE(good.document_begin(good.num_documents()) == good.num_tokens());
  if (bin_bytes > 1 << 20) return 0;
  const std::vector<uint8_t> bin(static_cast<size_t>(bin_bytes), 1);
  std::vector<int32_t> tokens(static_cast<size_t>(good.num_tokens()));
  LEASEHOLD_FUZZ_REQUIRE(good.token_bytes() == 8 ||
                         good.read(bin, 0, tokens, int64_t{1} << 31, "d.bin").ok());
  return 0;
}

}  // namespace leasehold
