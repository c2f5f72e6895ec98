#include "tests/models/foreign_fixture.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "models/weight_mapping.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/safetensors.h"

namespace leasehold {

const char* const kSmallGpt2 = R"({"model_type": "gpt2", "n_layer": 1, "n_embd": 4, "n_head": 2,
  "n_positions": 3, "vocab_size": 5})";
const char* const kSmallLlama = R"({"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 4,
  "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 6,
  "max_position_embeddings": 8, "vocab_size": 5, "tie_word_embeddings": true})";

std::string make_safetensors(const std::map<std::string, MadeTensor>& tensors) {
  std::vector<SafetensorsTensor> listed;
  std::string buffer;
  for (const auto& [name, tensor] : tensors) {
    int64_t bytes = safetensors_dtype_bytes(tensor.dtype).value();
    for (const int64_t extent : tensor.shape) bytes *= extent;
    const int64_t begin = std::ssize(buffer);
    buffer += tensor.bytes;
    buffer.resize(static_cast<size_t>(begin + bytes));
    listed.push_back({name, tensor.dtype, tensor.shape, begin, begin + bytes});
  }
  return encode_safetensors_header(listed, {}).value() + buffer;
}

std::map<std::string, MadeTensor> tensors_of(const ModelConfig& config) {
  std::map<std::string, MadeTensor> tensors;
  const WeightMapping mapping = map_huggingface(config, huggingface_prefix(config));
  for (const ForeignTensor& tensor : mapping.tensors)
    tensors[tensor.name] = {"F32", tensor.shape, ""};
  return tensors;
}

std::map<std::string, MadeTensor> small_gpt2_tensors() {
  ModelConfig config{.layers = 1, .hidden = 4, .heads = 2, .sequence = 3, .vocab = 5};
  return tensors_of(complete_model_config(config).value());
}

std::map<std::string, MadeTensor> small_llama_tensors() {
  ModelConfig config{.family = "llama",
                     .layers = 1,
                     .hidden = 4,
                     .heads = 2,
                     .kv_heads = 1,
                     .ffn = 6,
                     .sequence = 8,
                     .vocab = 5,
                     .tied = true};
  return tensors_of(complete_model_config(config).value());
}

LoadedCheckpoint load_whole(FileSystem& files, const std::string& path) {
  const CheckpointHandle handle = open_checkpoint(files, path).value();
  LoadedCheckpoint loaded{.config = model_config_from_map(handle.info.model).value(),
                          .step = handle.info.step,
                          .tokenizer_json = handle.info.tokenizer_json,
                          .num_files = std::ssize(handle.manifest->files)};
  std::map<std::string, Shape> shapes;
  for (const ParameterSpec& spec : describe_parameters(loaded.config)) {
    shapes[spec.name] = spec.shape;
    for (const StateKind kind : kStateKinds) {
      std::vector<float> values(static_cast<size_t>(spec.shape.num_elements()), NAN);
      const StateSlice slice = {
          .parameter = spec.name,
          .kind = kind,
          .global_shape = spec.shape,
          .box = Box::whole(spec.shape),
          .data = Tensor(values.data(), DType::kF32, Shape{spec.shape.num_elements()})};
      throw_if_error(load_checkpoint(files, handle, {&slice, 1}));
      if (kind == StateKind::kWeight) {
        loaded.weights[spec.name] = std::move(values);
      } else {
        EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return value == 0; }))
            << spec.name;
      }
    }
  }
  throw_if_error(check_parameters(handle, shapes));
  return loaded;
}

}  // namespace leasehold
