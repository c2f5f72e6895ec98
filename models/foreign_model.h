// A model written by another program: a Hugging Face folder (config.json with model.safetensors, or
// with the shards that model.safetensors.index.json names; GPT-2 and Llama) or an llm.c model file
// (GPT-2, fp32 or bf16). Opening it checks everything but the elements.
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
  std::vector<ForeignWeights::Location> locations;  // of mapping.tensors, in their order
  // See HuggingFaceConfig (models/huggingface_config.h); empty for an llm.c file.
  std::vector<std::string> passed_over;
  std::string token_ids;
};

// Opens a model of either kind, depending on `path`. Every tensor of the model must exist with its
// shape, and no other tensor may. Buffers that the configuration implies (causal masks, rotary
// frequencies) are passed over. kMissingInput (no such path; a folder without config.json or
// safetensors), kBadData (broken files, tensors that do not fit the configuration), kBadConfig (a
// model that Leasehold lacks), kStorage.
Result<ForeignModel> open_foreign_model(FileSystem& files, const std::string& path);

// Open a model of one kind.
Result<ForeignModel> open_huggingface_folder(FileSystem& files, const std::string& directory);
Result<ForeignModel> open_llmc_model(FileSystem& files, const std::string& path);

// Reads parameter `index` of the mapping into `values`, about kForeignReadElements at a time (at
// least a row).
inline constexpr int64_t kForeignReadElements = int64_t{4} << 20;
Status read_parameter(ForeignModel& model, size_t index, std::span<float> values);

}  // namespace leasehold
