// What a matrix product is to cuBLASLt, and the table of the algorithms that were chosen for
// products, which checkpoints keep as text. Plain C++: nothing of CUDA.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "runtime/base/status.h"
#include "runtime/tensor/dtype.h"

namespace leasehold::cuda {

// Row-major operands; what a linear wants of each.
enum class ProductForm : uint8_t {
  kForward,  // d (rows, columns) = a (rows, depth) b (columns, depth)^T
  kInput,    // d (rows, columns) = a (rows, depth) b (depth, columns)
  kWeight,   // d (rows, columns) = a (depth, rows)^T b (depth, columns)
};

enum class Epilogue : uint8_t {
  kNone,
  kBias,      // + bias (columns)
  kGelu,      // d = gelu(product)
  kGeluBias,  // d = gelu(product + bias)
  kGeluAux,   // the same two, and what gelu was applied to goes to aux (rows, columns)
  kGeluAuxBias,
  kGeluGradient,  // d = product * gelu'(aux)
  kBiasGradient,  // of kWeight: bias (rows) = column sums of a
};

struct Product {
  ProductForm form = ProductForm::kForward;
  int64_t rows = 0, columns = 0, depth = 0;
  DType input = DType::kF32;
  DType output = DType::kF32;
  Epilogue epilogue = Epilogue::kNone;
  bool aligned = true;  // all operands to 16 bytes
  // Elements between the beginnings of two rows of the linear's output or its gradient: d of
  // kForward, a of the other forms. 0: they are dense.
  int64_t stride = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the comparison's zero for a pointer
  auto operator<=>(const Product&) const = default;
  // "forward 64 48 32 BF16 BF16 gelu_aux_bias aligned"; rows that are not dense add "stride 64".
  std::string to_string() const;
};
Result<Product> parse_product(const std::string& text);

// cuBLASLt's description of an algorithm, valid for one version of the library.
struct Algorithm {
  std::array<uint64_t, 8> words{};
  bool operator==(const Algorithm&) const = default;
};

// Of each product that was asked for: its algorithm, or that there is none.
class AlgorithmTable {
 public:
  // `library` names all that algorithms depend on: cuBLASLt's version and the part.
  explicit AlgorithmTable(std::string library) : library_(std::move(library)) {}

  // Null: not asked for yet.
  const std::optional<Algorithm>* find(const Product& product) const;
  void set(const Product& product, const std::optional<Algorithm>& algorithm);
  const std::map<Product, std::optional<Algorithm>>& entries() const { return entries_; }
  const std::string& library() const { return library_; }

  // A line for the library, then one for each product in order:
  //   forward 64 48 32 BF16 BF16 bias aligned = 1f 0 0 0 0 0 0 0
  // or "= none". The same table gives the same text.
  std::string to_text() const;
  // kBadData for a text that is none. It may be of another library: the caller compares.
  static Result<AlgorithmTable> parse(const std::string& text);

 private:
  std::string library_;
  std::map<Product, std::optional<Algorithm>> entries_;
};

}  // namespace leasehold::cuda
