// Tests that the tables are one to one, whatever the sizes; model_import_test checks the places.
#include "models/weight_mapping.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>

namespace leasehold {
namespace {

std::vector<ModelConfig> configurations() {
  const ModelConfig plain{.layers = 2, .hidden = 6, .heads = 3, .sequence = 4, .vocab = 7};
  ModelConfig wide = plain;
  wide.heads = 1;
  wide.hidden = 40;  // more than a tile
  ModelConfig llama{.family = "llama",
                    .layers = 2,
                    .hidden = 24,
                    .heads = 6,
                    .kv_heads = 2,
                    .ffn = 10,
                    .sequence = 4,
                    .vocab = 7};
  ModelConfig tied = llama;
  tied.tied = true;
  tied.kv_heads = 6;
  std::vector<ModelConfig> all;
  for (const ModelConfig& config : {plain, wide, llama, tied})
    all.push_back(complete_model_config(config).value());
  return all;
}

// Numbers every element of every tensor of a parameter, and copies them in and out again in pieces
// of `rows` rows.
void expect_one_to_one(const WeightMapping& mapping, int64_t rows) {
  for (size_t p = 0; p < mapping.parameters.size(); ++p) {
    const MappedParameter& parameter = mapping.parameters[p];
    std::vector<float> values(static_cast<size_t>(parameter.shape.num_elements()), -1.0F);
    std::map<size_t, std::vector<float>> stored;
    float next = 0;
    for (const size_t index : parameter.tensors) {
      const ForeignTensor& tensor = mapping.tensors[index];
      EXPECT_EQ(tensor.parameter, p);
      stored[index].resize(static_cast<size_t>(tensor.num_elements()));
      std::iota(stored[index].begin(), stored[index].end(), next);
      next += static_cast<float>(tensor.num_elements());
      for (int64_t first = 0; first < tensor.stored_rows(); first += rows) {
        const int64_t count = std::min(rows, tensor.stored_rows() - first);
        copy_to_parameter(tensor, first, count,
                          stored[index].data() + first * tensor.stored_row_elements(),
                          values.data());
      }
    }
    std::vector<float> sorted = values;
    std::ranges::sort(sorted);
    for (size_t i = 0; i < sorted.size(); ++i)
      ASSERT_EQ(sorted[i], static_cast<float>(i)) << parameter.name;
    for (const size_t index : parameter.tensors) {
      const ForeignTensor& tensor = mapping.tensors[index];
      std::vector<float> back(stored[index].size());
      for (int64_t first = 0; first < tensor.stored_rows(); first += rows) {
        const int64_t count = std::min(rows, tensor.stored_rows() - first);
        copy_from_parameter(tensor, first, count,
                            back.data() + first * tensor.stored_row_elements(), values.data());
      }
      EXPECT_EQ(back, stored[index]) << tensor.name;
    }
  }
}

TEST(WeightMapping, IsOneToOneInPiecesOfAnySize) {
  for (const ModelConfig& config : configurations()) {
    for (const int64_t rows : {1, 3, 1000}) {
      expect_one_to_one(map_huggingface(config, huggingface_prefix(config)), rows);
      if (config.family == "gpt2") expect_one_to_one(map_llmc(config), rows);
    }
  }
}

TEST(WeightMapping, NamesEveryParameterAndKeepsItsTensorsTogether) {
  for (const ModelConfig& config : configurations()) {
    const WeightMapping mapping = map_huggingface(config, "");
    const auto specs = describe_parameters(config);
    ASSERT_EQ(mapping.parameters.size(), specs.size());
    size_t next = 0;
    for (size_t p = 0; p < specs.size(); ++p) {
      EXPECT_EQ(mapping.parameters[p].name, specs[p].name);
      EXPECT_FALSE(mapping.parameters[p].tensors.empty());
      for (const size_t index : mapping.parameters[p].tensors) EXPECT_EQ(index, next++);
    }
    EXPECT_EQ(next, mapping.tensors.size());
  }
}

}  // namespace
}  // namespace leasehold
