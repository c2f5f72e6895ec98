#include "tests/emulated_gpu/cublaslt_state.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "tests/emulated_gpu/device_state.h"
#include "tests/emulated_gpu/emulation.h"

namespace leasehold::emulation {

namespace {

constexpr uint64_t kAlignedBytes = 16;

bool is_supported_type(cudaDataType type) { return type == CUDA_R_32F || type == CUDA_R_16BF; }

bool is_supported(uint32_t epilogue) {
  constexpr std::array<uint32_t, 8> kSupported = {
      CUBLASLT_EPILOGUE_DEFAULT,  CUBLASLT_EPILOGUE_BIAS,      CUBLASLT_EPILOGUE_GELU,
      CUBLASLT_EPILOGUE_GELU_AUX, CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
      CUBLASLT_EPILOGUE_DGELU,    CUBLASLT_EPILOGUE_BGRADB};
  return std::ranges::count(kSupported, epilogue) != 0;
}

bool is_valid(const LayoutState& layout) {
  return layout.rows > 0 && layout.columns > 0 &&
         layout.leading_dimension >= static_cast<int64_t>(layout.rows);
}

bool is_aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % kAlignedBytes == 0;
}

bool has_aligned_columns(const LayoutState& layout) {
  return static_cast<uint64_t>(layout.leading_dimension * layout.element_bytes()) % kAlignedBytes ==
         0;
}

// What the documentation demands of epilogues.
cublasStatus_t check_epilogue(const ProductState& product) {
  const OperationState& operation = product.operation;
  if (operation.epilogue == CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_SUCCESS;
  const bool has_aux = operation.keeps_aux() || operation.has_gelu_gradient();
  if (has_aux) {
    if (operation.aux == nullptr ||
        operation.aux_leading_dimension < static_cast<int64_t>(product.m())) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (operation.aux_leading_dimension % 8 != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const bool has_vector = operation.has_bias() || operation.has_bias_gradient();
  if (has_vector && operation.bias == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const bool is_fine = (!has_aux || is_aligned(operation.aux)) &&
                       (!has_vector || is_aligned(operation.bias)) &&
                       has_aligned_columns(product.d);
  return is_fine ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

// By device, as the environment says or a test.
std::array<std::atomic<int>, kMaxDevices>& heuristics() {
  static std::array<std::atomic<int>, kMaxDevices> of_devices;
  [[maybe_unused]] static const bool is_read = [] {
    constexpr const char* kName = "LEASEHOLD_EMULATION_HEURISTICS";
    const char* text = std::getenv(kName);
    if (text == nullptr || *text == '\0') return false;
    for (std::atomic<int>& of_device : of_devices) {
      if (*text < '0' || *text > '2') {
        std::fprintf(stderr, "emulated GPU: %s: write a digit from 0 to 2 for each device\n",
                     kName);
        std::_Exit(78);
      }
      of_device = *text - '0';
      if (text[1] != '\0') ++text;
    }
    return true;
  }();
  return of_devices;
}

}  // namespace

void set_heuristics(int device, Heuristics chosen) {
  heuristics().at(static_cast<size_t>(device)) = static_cast<int>(chosen);
}

// What gives the least sure bits comes first, as what is fastest might.
std::vector<AlgorithmKind> offered_kinds(int device) {
  std::vector<AlgorithmKind> kinds = {AlgorithmKind::kInPlace, AlgorithmKind::kRoundedInputs,
                                      AlgorithmKind::kSplit, AlgorithmKind::kTiled,
                                      AlgorithmKind::kPlain};
  const auto chosen = Heuristics(heuristics().at(static_cast<size_t>(device)).load());
  if (chosen == Heuristics::kPlainFirst) std::ranges::reverse(kinds);
  if (chosen == Heuristics::kWithoutTiles) std::erase(kinds, AlgorithmKind::kTiled);
  return kinds;
}

cublasStatus_t read_product(cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                            cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                            cublasLtMatrixLayout_t d, ProductState* product) {
  const auto described = read<OperationState>(operation);
  const std::array layouts = {read<LayoutState>(a), read<LayoutState>(b), read<LayoutState>(c),
                              read<LayoutState>(d)};
  const bool all_valid =
      std::ranges::all_of(layouts, [](const auto& layout) { return layout && is_valid(*layout); });
  if (!described || !all_valid) return CUBLAS_STATUS_INVALID_VALUE;
  *product = {*described, *layouts[0], *layouts[1], *layouts[2], *layouts[3]};
  const OperationState& op = product->operation;
  const bool a_turned = op.transposes_a == CUBLAS_OP_T;
  const bool b_turned = op.transposes_b == CUBLAS_OP_T;
  const uint64_t k = product->k();
  const bool fits = (a_turned ? product->a.columns : product->a.rows) == product->m() &&
                    (b_turned ? product->b.columns : product->b.rows) == k &&
                    (b_turned ? product->b.rows : product->b.columns) == product->n() &&
                    product->c.rows == product->m() && product->c.columns == product->n();
  if (!fits) return CUBLAS_STATUS_INVALID_VALUE;
  const cudaDataType input = product->a.type;
  const cudaDataType output = product->d.type;
  const bool has_kernels = is_supported_type(input) && product->b.type == input &&
                           is_supported_type(output) && product->c.type == output &&
                           !(input == CUDA_R_32F && output == CUDA_R_16BF) &&
                           is_supported(op.epilogue);
  return has_kernels ? check_epilogue(*product) : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t check_algorithm(const ProductState& product, const AlgorithmState& algorithm,
                               const std::array<uint32_t, 4>& alignments) {
  const auto needs = [&](uint64_t bytes, const LayoutState& layout) {
    return std::max<uint64_t>(bytes, static_cast<uint64_t>(layout.element_bytes()));
  };
  const bool is_tiled = algorithm.kind == AlgorithmKind::kTiled;
  const std::array layouts = {product.a, product.b, product.c, product.d};
  for (size_t i = 0; i < layouts.size(); ++i) {
    if (alignments[i] % needs(is_tiled ? kAlignedBytes : 1, layouts[i]) != 0) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (is_tiled && !has_aligned_columns(layouts[i])) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const bool rounds = algorithm.kind == AlgorithmKind::kRoundedInputs;
  if (rounds && product.a.type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool is_split = algorithm.splits() > 1;
  const bool has_epilogue = product.operation.epilogue != CUBLASLT_EPILOGUE_DEFAULT;
  // Parts are added behind the product, where no epilogue of these can follow.
  if (is_split && (has_epilogue || product.k() < 8)) return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace leasehold::emulation
