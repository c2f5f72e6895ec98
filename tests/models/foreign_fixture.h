// Other programs' models for tests: files written by make_huggingface_fixture.py, and folders made
// here.
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

// Returns element `index` of tensor `name` as the fixture's script computes it: exact in fp32, bf16
// and fp16.
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
  std::string bytes;  // empty: zeros of the required size
};
// Returns a .safetensors file of these tensors, in the order of their names.
std::string make_safetensors(const std::map<std::string, MadeTensor>& tensors);

// The config.json of a gpt2 with 1 layer, 4 channels, 2 heads, 3 positions and 5 ids, and its
// tensors.
extern const char* const kSmallGpt2;
std::map<std::string, MadeTensor> small_gpt2_tensors();
// The same for a tied llama.
extern const char* const kSmallLlama;
std::map<std::string, MadeTensor> small_llama_tensors();
std::map<std::string, MadeTensor> tensors_of(const ModelConfig& config);

// A whole checkpoint: its info and every parameter's weights. The moments have been checked to be
// zero.
struct LoadedCheckpoint {
  ModelConfig config;
  int64_t step = -1;
  std::string tokenizer_json;
  int64_t num_files = 0;
  std::map<std::string, std::vector<float>> weights;
};
LoadedCheckpoint load_whole(FileSystem& files, const std::string& path);

}  // namespace leasehold
