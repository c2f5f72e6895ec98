// Any text as model.safetensors.index.json: refused, or file names that stay in their folder.
#include <cstdint>
#include <string_view>

#include "models/huggingface_index.h"
#include "tests/fuzzing/require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace leasehold;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<WeightMap> map = parse_huggingface_index(text, "fuzz");
  if (!map.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(map.status().code() == Code::kBadData);
    LEASEHOLD_FUZZ_REQUIRE(map.status().message().starts_with("fuzz"));
    return 0;
  }
  LEASEHOLD_FUZZ_REQUIRE(!map->empty());
  for (const auto& [tensor, name] : *map) {
    LEASEHOLD_FUZZ_REQUIRE(name.find('/') == std::string::npos && name.front() != '.' &&
                           name.ends_with(".safetensors"));
  }
  const Result<WeightMap> again =
      parse_huggingface_index(encode_huggingface_index(*map, 1), "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && *again == *map);
  return 0;
}
