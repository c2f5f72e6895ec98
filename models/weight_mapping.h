// How another program's tensors hold a model's parameters: which rows of which parameter, and
// whether rows and columns are exchanged. Pure; importing and exporting are the same table read in
// either direction.
//
// A parameter is seen as a matrix: a linear's or a table's last dim are its columns and all dims
// before them its rows; biases and gains have one column.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/describe.h"

namespace leasehold {

// Rows [theirs, theirs + count) of a tensor are rows [ours, ours + count) of the parameter, and so
// on `repeats` times, each time a stride further on either side.
struct RowRuns {
  int64_t ours = 0;
  int64_t theirs = 0;
  int64_t count = 0;
  int64_t repeats = 1;
  int64_t our_stride = 0;
  int64_t their_stride = 0;
};

// One tensor of the other program. It belongs to one parameter whole; a parameter may be spread
// over several.
struct ForeignTensor {
  std::string name;
  std::vector<int64_t>
      shape;                // as stored: (rows, columns), (rows), or, transposed, (columns, rows)
  bool transposed = false;  // linears kept as (in, out), ours are (out, in)
  size_t parameter = 0;     // index into WeightMapping::parameters
  std::vector<RowRuns> runs;

  int64_t num_elements() const;
  // As stored: what shape[0] counts, and the elements of each.
  int64_t stored_rows() const { return shape[0]; }
  int64_t stored_row_elements() const { return num_elements() / shape[0]; }
  // As seen.
  int64_t rows() const { return transposed ? shape[1] : shape[0]; }
  int64_t columns() const { return num_elements() / rows(); }
};

struct MappedParameter {
  std::string name;
  Shape shape;
  std::vector<size_t> tensors;  // indices into WeightMapping::tensors
};

struct WeightMapping {
  std::vector<MappedParameter> parameters;  // in the order of describe_parameters
  std::vector<ForeignTensor> tensors;       // those of a parameter next to each other
};

// Hugging Face's names for GPT2LMHeadModel and LlamaForCausalLM (github.com/huggingface/
// transformers, models/gpt2 and models/llama), each behind `prefix` but for lm_head.weight, which a
// tied model does not have. Wants a complete configuration. llama's rotary pairs are halves of a
// head in both programs, so nothing is permuted.
WeightMapping map_huggingface(const ModelConfig& config, const std::string& prefix);
// "transformer." or "model.": what Hugging Face's language models write.
const char* huggingface_prefix(const ModelConfig& config);

// llm.c's model file (github.com/karpathy/llm.c, train_gpt2.c) of a gpt2 configuration with ffn =
// 4 * hidden. The names are ours to choose: "wte", "wpe", "ln1w.3" for layer 3.
WeightMapping map_llmc(const ModelConfig& config);

// Copies rows [first, first + count) of the tensor as stored, which `stored` holds alone, into the
// whole parameter; and back.
void copy_to_parameter(const ForeignTensor& tensor, int64_t first, int64_t count,
                       const float* stored, float* parameter);
void copy_from_parameter(const ForeignTensor& tensor, int64_t first, int64_t count, float* stored,
                         const float* parameter);

}  // namespace leasehold
