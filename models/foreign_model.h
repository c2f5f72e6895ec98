// A model as another program left it: a Hugging Face folder (config.json with model.safetensors, or
// with the shards that model.safetensors.index.json names; GPT-2 and Llama) or an llm.c model file
// (GPT-2, fp32 or bf16). Opening checks everything but the elements.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/foreign_weights.h"
#include "models/weight_mapping.h"
#include "runtime/base/files.h"

namespace leasehold {

struct ForeignModel {
  ModelConfig config;
  WeightMapping mapping;
  ForeignWeights weights;
  std::vector<ForeignWeights::Location> locations;  // of mapping.tensors
  // As HuggingFaceConfig has them (models/huggingface_config.h); empty for an llm.c file.
  std::vector<std::string> passed_over;
  std::string token_ids;
};

// By what `path` is. Every tensor of the model must be there with its shape, and none that belongs
// to something else; buffers that the configuration implies (causal masks, rotary frequencies) are
// passed over. kMissingInput (no such path; a folder without config.json or safetensors), kBadData
// (broken files, tensors that do not fit the configuration), kBadConfig (a model that Leasehold
// does not have), kStorage.
Result<ForeignModel> open_foreign_model(FileSystem& files, const std::string& path);

// The two kinds.
Result<ForeignModel> open_huggingface_folder(FileSystem& files, const std::string& directory);
Result<ForeignModel> open_llmc_model(FileSystem& files, const std::string& path);

// Puts parameter `index` of the mapping into `values`, reading about kForeignReadElements at a time
// (a row at least).
inline constexpr int64_t kForeignReadElements = int64_t{4} << 20;
Status read_parameter(ForeignModel& model, size_t index, std::span<float> values);

}  // namespace leasehold
