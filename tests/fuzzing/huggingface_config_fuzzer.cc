// Fuzzes config.json with any text: it is refused with a reason, or gives a model that survives
// writing and has a mapping.
#include <cstdint>
#include <string_view>

#include "models/huggingface_config.h"
#include "models/weight_mapping.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

void try_config(std::string_view text) {
  const Result<HuggingFaceConfig> read = parse_huggingface_config(text, "fuzz");
  if (!read.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(read.status().code() == Code::kBadData ||
                           read.status().code() == Code::kBadConfig);
    LEASEHOLD_FUZZ_REQUIRE(read.status().message().starts_with("fuzz"));
    return;
  }
  const ModelConfig& config = read->model;
  const Result<HuggingFaceConfig> again =
      parse_huggingface_config(encode_huggingface_config(config, "float32"), "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && again->model == config);
  if (config.layers > 100) return;  // opening a folder counts its tensors first
  const WeightMapping mapping = map_huggingface(config, "");
  int64_t ours = 0, theirs = 0;
  for (const MappedParameter& parameter : mapping.parameters)
    ours += parameter.shape.num_elements();
  for (const ForeignTensor& tensor : mapping.tensors) {
    theirs += tensor.num_elements();
    for (const RowRuns& runs : tensor.runs) {
      LEASEHOLD_FUZZ_REQUIRE(runs.theirs + (runs.repeats - 1) * runs.their_stride + runs.count <=
                             tensor.rows());
    }
  }
  LEASEHOLD_FUZZ_REQUIRE(ours == theirs);
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  leasehold::try_config({reinterpret_cast<const char*>(data), size});
  return 0;
}
