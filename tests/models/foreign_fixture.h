// Models as other programs leave them, for tests: what make_huggingface_fixture.py wrote, and
// folders made up here.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/describe.h"
#include "models/foreign_weights.h"
#include "runtime/base/files.h"

namespace leasehold {

inline std::string foreign_fixture(const std::string& name) {
  return std::string(LEASEHOLD_FIXTURES) + "/huggingface/" + name;
}

// Element `index` of tensor `name`, as the fixture's script has it: exact in fp32, bf16 and fp16.
inline float pattern(const std::string& name, int64_t index) {
  uint32_t h = 2166136261U;
  for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 16777619U;
  h += static_cast<uint32_t>(index) * 2654435761U;
  h = (h ^ h >> 15) * 2246822519U;
  h ^= h >> 13;
  const float magnitude =
      std::ldexp(1.0F + static_cast<float>(h & 127) / 128.0F, static_cast<int>(h >> 7 & 7) - 4);
  return (h >> 10 & 1) != 0 ? -magnitude : magnitude;
}

struct MadeTensor {
  std::string dtype = "F32";
  std::vector<int64_t> shape;
  std::string bytes;  // empty: zeros, as many as it needs
};
// A .safetensors file of these, in the order of their names.
std::string make_safetensors(const std::map<std::string, MadeTensor>& tensors);

// A config.json of a gpt2 of 1 layer, 4 channels, 2 heads, 3 positions and 5 ids, and its tensors.
extern const char* const kSmallGpt2;
std::map<std::string, MadeTensor> small_gpt2_tensors();
// The same for a tied llama.
extern const char* const kSmallLlama;
std::map<std::string, MadeTensor> small_llama_tensors();
std::map<std::string, MadeTensor> tensors_of(const ModelConfig& config);

// Every parameter's weights, moments checked to be zero, and the info.
struct LoadedCheckpoint {
  ModelConfig config;
  int64_t step = -1;
  std::string tokenizer_json;
  int64_t num_files = 0;
  std::map<std::string, std::vector<float>> weights;
};
LoadedCheckpoint load_whole(FileSystem& files, const std::string& path);

}  // namespace leasehold
