// Maps another program's tensors to a model's parameters: which rows of which parameter a tensor
// holds, and whether rows and columns are exchanged. Pure. Importing and exporting read the same
// table in opposite directions.
//
// A parameter is treated as a matrix. The last dim of a linear or a table gives its columns, and
// all dims before it give its rows. Biases and gains have one column.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/describe.h"

namespace leasehold {

// Rows [theirs, theirs + count) of a tensor are rows [ours, ours + count) of the parameter. This
// repeats `repeats` times, each time a stride further on either side.
struct RowRuns {
  int64_t ours = 0;
  int64_t theirs = 0;
  int64_t count = 0;
  int64_t repeats = 1;
  int64_t our_stride = 0;
  int64_t their_stride = 0;
};

// One tensor of the other program. It belongs entirely to one parameter; a parameter may be spread
// over several tensors.
struct ForeignTensor {
  std::string name;
  // The stored shape: (rows, columns), (rows), or, transposed, (columns, rows).
  std::vector<int64_t> shape;
  bool transposed = false;  // stored as (in, out), as some linears are; ours are (out, in)
  size_t parameter = 0;     // index into WeightMapping::parameters
  std::vector<RowRuns> runs;

  int64_t num_elements() const;
  // Return the size of the stored tensor: shape[0], and the elements of each row.
  int64_t stored_rows() const { return shape[0]; }
  int64_t stored_row_elements() const { return num_elements() / shape[0]; }
  // Return the size of the matrix, after any transposition.
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
  std::vector<ForeignTensor> tensors;       // all tensors of a parameter are next to each other
};

// Maps Hugging Face's names for GPT2LMHeadModel and LlamaForCausalLM (github.com/huggingface/
// transformers, models/gpt2 and models/llama). Each name follows `prefix`, except lm_head.weight,
// which a tied model does not have. Requires a complete configuration. In both programs llama's
// rotary pairs are halves of a head, so nothing is permuted.
WeightMapping map_huggingface(const ModelConfig& config, const std::string& prefix);
// Returns the prefix that Hugging Face's language models write: "transformer." or "model.".
const char* huggingface_prefix(const ModelConfig& config);

// Maps llm.c's model file (github.com/karpathy/llm.c, train_gpt2.c) of a gpt2 configuration with
// ffn = 4 * hidden. The file has no names, so we choose them: "wte", "wpe", "ln1w.3" for layer 3.
WeightMapping map_llmc(const ModelConfig& config);

// Copy rows [first, first + count) of the stored tensor, which `stored` holds alone, into the whole
// parameter, and back.
void copy_to_parameter(const ForeignTensor& tensor, int64_t first, int64_t count,
                       const float* stored, float* parameter);
void copy_from_parameter(const ForeignTensor& tensor, int64_t first, int64_t count, float* stored,
                         const float* parameter);

}  // namespace leasehold
