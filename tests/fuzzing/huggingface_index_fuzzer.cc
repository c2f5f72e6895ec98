// Fuzzes model.safetensors.index.json with any text: it is refused, or its file names stay in their
// folder.
#include <cstdint>
#include <string_view>

#include "models/huggingface_index.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

void try_index(std::string_view text) {
  const Result<WeightMap> map = parse_huggingface_index(text, "fuzz");
  if (!map.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(map.status().code() == Code::kBadData);
    LEASEHOLD_FUZZ_REQUIRE(map.status().message().starts_with("fuzz"));
    return;
  }
  LEASEHOLD_FUZZ_REQUIRE(!map->empty());
  for (const auto& [tensor, name] : *map) {
    LEASEHOLD_FUZZ_REQUIRE(name.find('/') == std::string::npos && name.front() != '.' &&
                           name.ends_with(".safetensors"));
  }
  const Result<WeightMap> again =
      parse_huggingface_index(encode_huggingface_index(*map, 1), "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && *again == *map);
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  leasehold::try_index({reinterpret_cast<const char*>(data), size});
  return 0;
}
