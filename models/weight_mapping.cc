#include "models/weight_mapping.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace leasehold {

namespace {

// Calls visit(ours, theirs, count) for each run of rows.
template <typename Visit>
void for_each_run(const ForeignTensor& tensor, const Visit& visit) {
  for (const RowRuns& runs : tensor.runs) {
    for (int64_t i = 0; i < runs.repeats; ++i) {
      visit(runs.ours + i * runs.our_stride, runs.theirs + i * runs.their_stride, runs.count);
    }
  }
}

// Copies where rows of the file are rows of the parameter: copy(in_stored, in_parameter, elements).
template <typename Copy>
void walk_rows(const ForeignTensor& tensor, int64_t first, int64_t count, const Copy& copy) {
  const int64_t columns = tensor.columns();
  for_each_run(tensor, [&](int64_t ours, int64_t theirs, int64_t rows) {
    const int64_t begin = std::max(theirs, first);
    const int64_t end = std::min(theirs + rows, first + count);
    if (begin >= end) return;
    copy((begin - first) * columns, (ours + begin - theirs) * columns, (end - begin) * columns);
  });
}

// Copies where rows of the file are columns of the parameter: element by element, in tiles, so that
// neither side leaves the cache. Calls copy(in_stored, in_parameter).
template <typename Copy>
void walk_columns(const ForeignTensor& tensor, int64_t first, int64_t count, const Copy& copy) {
  constexpr int64_t kTile = 32;
  const int64_t columns = tensor.columns();
  const int64_t stored_row = tensor.rows();
  for_each_run(tensor, [&](int64_t ours, int64_t theirs, int64_t rows) {
    for (int64_t row0 = 0; row0 < rows; row0 += kTile) {
      for (int64_t column0 = 0; column0 < count; column0 += kTile) {
        for (int64_t row = row0; row < std::min(rows, row0 + kTile); ++row) {
          for (int64_t column = column0; column < std::min(count, column0 + kTile); ++column) {
            copy(column * stored_row + theirs + row, (ours + row) * columns + first + column);
          }
        }
      }
    }
  });
}

// --- The tables ---

class Builder {
 public:
  explicit Builder(const ModelConfig& config) {
    for (const ParameterSpec& spec : describe_parameters(config)) {
      index_[spec.name] = mapping_.parameters.size();
      mapping_.parameters.push_back({spec.name, spec.shape, {}});
    }
  }

  // Adds `theirs`, with its stored shape, which holds the given runs of rows of `ours`.
  void add(const std::string& ours, const std::string& theirs, std::vector<int64_t> shape,
           bool transposed, std::vector<RowRuns> runs) {
    const size_t parameter = index_.at(ours);
    mapping_.parameters[parameter].tensors.push_back(mapping_.tensors.size());
    mapping_.tensors.push_back({theirs, std::move(shape), transposed, parameter, std::move(runs)});
  }

  // Adds `theirs`, which holds all of `ours`. `columns` is the columns of `ours`; 0 for a vector.
  void same(const std::string& ours, const std::string& theirs, int64_t columns = 0,
            bool transposed = false) {
    const int64_t elements = mapping_.parameters[index_.at(ours)].shape.num_elements();
    const int64_t rows = columns == 0 ? elements : elements / columns;
    std::vector<int64_t> shape = {rows};
    if (columns != 0) shape.push_back(columns);
    if (transposed) std::swap(shape[0], shape[1]);
    add(ours, theirs, std::move(shape), transposed, {{.count = rows}});
  }

  WeightMapping finish() { return std::move(mapping_); }

 private:
  WeightMapping mapping_;
  std::map<std::string, size_t> index_;
};

// Maps q | k | v, each one head after the other, to q, k, v of each head.
std::vector<RowRuns> split_by_head(const ModelConfig& config) {
  const int64_t C = config.hidden, H = config.heads, D = config.head_dim();
  std::vector<RowRuns> runs;
  for (int64_t slot = 0; slot < 3; ++slot) {
    runs.push_back({.ours = slot * D,
                    .theirs = slot * C,
                    .count = D,
                    .repeats = H,
                    .our_stride = 3 * D,
                    .their_stride = D});
  }
  return runs;
}

WeightMapping map_gpt2(const ModelConfig& config, const std::string& prefix) {
  const int64_t C = config.hidden, F = config.ffn;
  constexpr bool kTransposed = true;
  Builder builder(config);
  builder.same("embedding.token.weight", prefix + "wte.weight", C);
  builder.same("embedding.position.weight", prefix + "wpe.weight", C);
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string ours = fmt::format("blocks.{}.", i);
    const std::string theirs = fmt::format("{}h.{}.", prefix, i);
    builder.same(ours + "attention.norm.weight", theirs + "ln_1.weight");
    builder.same(ours + "attention.norm.bias", theirs + "ln_1.bias");
    builder.add(ours + "attention.qkv.weight", theirs + "attn.c_attn.weight", {C, 3 * C},
                kTransposed, split_by_head(config));
    builder.add(ours + "attention.qkv.bias", theirs + "attn.c_attn.bias", {3 * C}, false,
                split_by_head(config));
    builder.same(ours + "attention.projection.weight", theirs + "attn.c_proj.weight", C,
                 kTransposed);
    builder.same(ours + "attention.projection.bias", theirs + "attn.c_proj.bias");
    builder.same(ours + "mlp.norm.weight", theirs + "ln_2.weight");
    builder.same(ours + "mlp.norm.bias", theirs + "ln_2.bias");
    builder.same(ours + "mlp.fc.weight", theirs + "mlp.c_fc.weight", C, kTransposed);
    builder.same(ours + "mlp.fc.bias", theirs + "mlp.c_fc.bias");
    builder.same(ours + "mlp.projection.weight", theirs + "mlp.c_proj.weight", F, kTransposed);
    builder.same(ours + "mlp.projection.bias", theirs + "mlp.c_proj.bias");
  }
  builder.same("norm.weight", prefix + "ln_f.weight");
  builder.same("norm.bias", prefix + "ln_f.bias");
  return builder.finish();
}

WeightMapping map_llama(const ModelConfig& config, const std::string& prefix) {
  const int64_t C = config.hidden, F = config.ffn, D = config.head_dim(), G = config.kv_heads;
  const int64_t R = config.heads / G;  // query heads of a kv head
  Builder builder(config);
  builder.same("embedding.token.weight", prefix + "embed_tokens.weight", C);
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string ours = fmt::format("blocks.{}.", i);
    const std::string theirs = fmt::format("{}layers.{}.", prefix, i);
    const auto part = [&](const char* name, int64_t first_slot, int64_t slots) {
      builder.add(ours + "attention.qkv.weight", theirs + "self_attn." + name, {G * slots * D, C},
                  false,
                  {{.ours = first_slot * D,
                    .count = slots * D,
                    .repeats = G,
                    .our_stride = (R + 2) * D,
                    .their_stride = slots * D}});
    };
    builder.same(ours + "attention.norm.weight", theirs + "input_layernorm.weight");
    part("q_proj.weight", 0, R);
    part("k_proj.weight", R, 1);
    part("v_proj.weight", R + 1, 1);
    builder.same(ours + "attention.projection.weight", theirs + "self_attn.o_proj.weight", C);
    builder.same(ours + "mlp.norm.weight", theirs + "post_attention_layernorm.weight");
    builder.add(ours + "mlp.gate_up.weight", theirs + "mlp.gate_proj.weight", {F, C}, false,
                {{.count = F}});
    builder.add(ours + "mlp.gate_up.weight", theirs + "mlp.up_proj.weight", {F, C}, false,
                {{.ours = F, .count = F}});
    builder.same(ours + "mlp.projection.weight", theirs + "mlp.down_proj.weight", F);
  }
  builder.same("norm.weight", prefix + "norm.weight");
  if (!config.tied) builder.same("head.weight", "lm_head.weight", C);
  return builder.finish();
}

}  // namespace

int64_t ForeignTensor::num_elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

const char* huggingface_prefix(const ModelConfig& config) {
  return config.family == "llama" ? "model." : "transformer.";
}

WeightMapping map_huggingface(const ModelConfig& config, const std::string& prefix) {
  return config.family == "llama" ? map_llama(config, prefix) : map_gpt2(config, prefix);
}

WeightMapping map_llmc(const ModelConfig& config) {
  const int64_t C = config.hidden, F = config.ffn;
  Builder builder(config);
  builder.same("embedding.token.weight", "wte", C);
  builder.same("embedding.position.weight", "wpe", C);
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string ours = fmt::format("blocks.{}.", i);
    const auto name = [&](const char* base) { return fmt::format("{}.{}", base, i); };
    builder.same(ours + "attention.norm.weight", name("ln1w"));
    builder.same(ours + "attention.norm.bias", name("ln1b"));
    builder.add(ours + "attention.qkv.weight", name("qkvw"), {3 * C, C}, false,
                split_by_head(config));
    builder.add(ours + "attention.qkv.bias", name("qkvb"), {3 * C}, false, split_by_head(config));
    builder.same(ours + "attention.projection.weight", name("attprojw"), C);
    builder.same(ours + "attention.projection.bias", name("attprojb"));
    builder.same(ours + "mlp.norm.weight", name("ln2w"));
    builder.same(ours + "mlp.norm.bias", name("ln2b"));
    builder.same(ours + "mlp.fc.weight", name("fcw"), C);
    builder.same(ours + "mlp.fc.bias", name("fcb"));
    builder.same(ours + "mlp.projection.weight", name("fcprojw"), F);
    builder.same(ours + "mlp.projection.bias", name("fcprojb"));
  }
  builder.same("norm.weight", "lnfw");
  builder.same("norm.bias", "lnfb");
  return builder.finish();
}

void copy_to_parameter(const ForeignTensor& tensor, int64_t first, int64_t count,
                       const float* stored, float* parameter) {
  if (tensor.transposed) {
    walk_columns(tensor, first, count,
                 [&](int64_t from, int64_t to) { parameter[to] = stored[from]; });
    return;
  }
  walk_rows(tensor, first, count, [&](int64_t from, int64_t to, int64_t elements) {
    std::memcpy(parameter + to, stored + from, static_cast<size_t>(elements) * sizeof(float));
  });
}

void copy_from_parameter(const ForeignTensor& tensor, int64_t first, int64_t count, float* stored,
                         const float* parameter) {
  if (tensor.transposed) {
    walk_columns(tensor, first, count,
                 [&](int64_t to, int64_t from) { stored[to] = parameter[from]; });
    return;
  }
  walk_rows(tensor, first, count, [&](int64_t to, int64_t from, int64_t elements) {
    std::memcpy(stored + to, parameter + from, static_cast<size_t>(elements) * sizeof(float));
  });
}

}  // namespace leasehold
