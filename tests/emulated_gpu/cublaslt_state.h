// The emulation of cuBLASLt: what its opaque descriptors hold here, and the algorithms that it
// offers. Exactly the calls that Leasehold makes are there, refusing what the library's
// documentation refuses and what would be a mistake; a product runs on its stream's thread in a
// fixed order of additions, which is another one for each algorithm, so that a change of algorithm
// changes bits as it would on a GPU.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <cublasLt.h>
#include <optional>
#include <vector>

// What a handle points at, in the vendor's own words. It belongs to the device that was current.
// NOLINTNEXTLINE(readability-identifier-naming)
struct cublasLtContext {
  int device;
};

namespace leasehold::emulation {

struct LayoutState {
  static constexpr uint64_t kMagic = 0x6c61796f7574;
  uint64_t magic = kMagic;
  cudaDataType type = CUDA_R_32F;
  uint64_t rows = 0, columns = 0;
  int64_t leading_dimension = 0;

  int64_t element_bytes() const { return type == CUDA_R_16BF ? 2 : 4; }
  // From the first byte to the end of the last column.
  size_t span_bytes() const {
    return ((columns - 1) * static_cast<uint64_t>(leading_dimension) + rows) *
           static_cast<uint64_t>(element_bytes());
  }
};

struct OperationState {
  static constexpr uint64_t kMagic = 0x6d61746d756c;
  uint64_t magic = kMagic;
  int32_t transposes_a = CUBLAS_OP_N, transposes_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  void* aux = nullptr;
  int64_t aux_leading_dimension = 0;

  bool has_bias() const { return (epilogue & CUBLASLT_EPILOGUE_BIAS) != 0 && !is_gradient(); }
  bool has_gelu() const { return (epilogue & CUBLASLT_EPILOGUE_GELU) != 0; }
  bool keeps_aux() const { return has_gelu() && (epilogue & 128) != 0; }
  bool has_gelu_gradient() const { return epilogue == CUBLASLT_EPILOGUE_DGELU; }
  bool has_bias_gradient() const { return epilogue == CUBLASLT_EPILOGUE_BGRADB; }
  bool is_gradient() const { return has_gelu_gradient() || has_bias_gradient(); }
};

struct PreferenceState {
  static constexpr uint64_t kMagic = 0x70726566;
  uint64_t magic = kMagic;
  uint64_t workspace_bytes = 0;
  uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::array<uint32_t, 4> alignments = {256, 256, 256, 256};  // of A, B, C, D
  uint64_t implementations = ~uint64_t{0};
};

enum class AlgorithmKind : uint64_t {
  kPlain = 1,          // one chain of additions, any alignment
  kTiled = 2,          // chains over tiles of the depth, operands and columns aligned to 16 bytes
  kSplit = 3,          // four parts in the workspace, then added in order
  kInPlace = 4,        // four parts added to the output as they come, in another order each time
  kRoundedInputs = 5,  // as kPlain, of fp32 rounded to TF32
};

struct AlgorithmState {
  static constexpr uint64_t kMagic = 0x616c676f;
  uint64_t magic = kMagic;
  AlgorithmKind kind = AlgorithmKind::kPlain;
  uint64_t reserved[6] = {};

  int32_t splits() const {
    return kind == AlgorithmKind::kSplit || kind == AlgorithmKind::kInPlace ? 4 : 1;
  }
  uint32_t scheme() const {
    if (kind == AlgorithmKind::kSplit) return CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    if (kind == AlgorithmKind::kInPlace) return CUBLASLT_REDUCTION_SCHEME_INPLACE;
    return CUBLASLT_REDUCTION_SCHEME_NONE;
  }
};

// Between the vendor's opaque structures and these. read() is empty for what was never set up.
template <typename State, typename Opaque>
void write(Opaque* opaque, const State& state) {
  static_assert(sizeof(State) <= sizeof(Opaque));
  std::memset(opaque, 0, sizeof *opaque);
  std::memcpy(opaque, &state, sizeof state);
}
template <typename State, typename Opaque>
std::optional<State> read(const Opaque* opaque) {
  State state;
  if (opaque == nullptr) return std::nullopt;
  std::memcpy(static_cast<void*>(&state), opaque, sizeof state);
  if (state.magic != State::kMagic) return std::nullopt;
  return state;
}

// A whole problem: D (m, n) = op(A) (m, k) op(B) (k, n), columns first.
struct ProductState {
  OperationState operation;
  LayoutState a, b, c, d;
  uint64_t m() const { return d.rows; }
  uint64_t n() const { return d.columns; }
  uint64_t k() const { return operation.transposes_a == CUBLAS_OP_N ? a.columns : a.rows; }
  size_t workspace_bytes(const AlgorithmState& algorithm) const {
    const bool has_parts = algorithm.kind == AlgorithmKind::kSplit;
    return has_parts ? static_cast<size_t>(algorithm.splits()) * m() * n() * sizeof(float) : 0;
  }
};
// What the device offers, the preferred ones first.
std::vector<AlgorithmKind> offered_kinds(int device);
// CUBLAS_STATUS_INVALID_VALUE for descriptors that contradict each other, _NOT_SUPPORTED for what
// the library has no kernels for.
cublasStatus_t read_product(cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                            cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                            cublasLtMatrixLayout_t d, ProductState* product);
// Whether the algorithm computes the product where operands are aligned as said.
cublasStatus_t check_algorithm(const ProductState& product, const AlgorithmState& algorithm,
                               const std::array<uint32_t, 4>& alignments);

}  // namespace leasehold::emulation
