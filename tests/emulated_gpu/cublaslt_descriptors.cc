// The emulation of cuBLASLt: handles, descriptors, and the choice of algorithms.
#include <algorithm>
#include <array>
#include <vector>

#include "tests/emulated_gpu/cublaslt_state.h"
#include "tests/emulated_gpu/device_state.h"
#include "tests/emulated_gpu/emulation.h"

namespace leasehold::emulation {

namespace {

// Of `size` bytes exactly, or it is a mistake.
template <typename Value>
cublasStatus_t take(Value* value, const void* from, size_t size) {
  if (from == nullptr || size != sizeof *value) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(value, from, size);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t give(uint64_t value, size_t value_bytes, void* to, size_t size, size_t* written) {
  if (to == nullptr || size != value_bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, &value, size);
  if (written != nullptr) *written = size;
  return CUBLAS_STATUS_SUCCESS;
}

uint64_t implementation_of(const ProductState& product, const AlgorithmState& algorithm) {
  constexpr uint64_t kSums = CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_32F;
  if (product.a.type == CUDA_R_16BF) {
    return CUBLASLT_NUMERICAL_IMPL_FLAGS_HMMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF | kSums;
  }
  if (algorithm.kind == AlgorithmKind::kRoundedInputs) {
    return CUBLASLT_NUMERICAL_IMPL_FLAGS_HMMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32 | kSums;
  }
  return CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA | CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_32F | kSums;
}

bool is_wanted(const ProductState& product, const AlgorithmState& algorithm,
               const PreferenceState& preference) {
  const uint32_t scheme = algorithm.scheme();
  const uint64_t implementation = implementation_of(product, algorithm);
  // Deep and small is where parts pay.
  const bool pays =
      algorithm.splits() == 1 || product.k() >= 4 * std::max(product.m(), product.n());
  return (scheme & ~preference.schemes) == 0 &&
         (implementation & ~preference.implementations) == 0 && pays &&
         product.workspace_bytes(algorithm) <= preference.workspace_bytes &&
         check_algorithm(product, algorithm, preference.alignments) == CUBLAS_STATUS_SUCCESS;
}

}  // namespace

}  // namespace leasehold::emulation

using leasehold::emulation::AlgorithmKind;
using leasehold::emulation::AlgorithmState;
using leasehold::emulation::give;
using leasehold::emulation::LayoutState;
using leasehold::emulation::OperationState;
using leasehold::emulation::PreferenceState;
using leasehold::emulation::ProductState;
using leasehold::emulation::read;
using leasehold::emulation::take;
using leasehold::emulation::write;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (leasehold::emulation::begin_call("cublasLtCreate") != cudaSuccess) {
    return CUBLAS_STATUS_NOT_INITIALIZED;
  }
  *handle = new cublasLtContext{leasehold::emulation::current_device()};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "an error that the emulation does not give";
  }
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t size,
                                                 cudaDataType type, uint64_t rows, uint64_t columns,
                                                 int64_t leading_dimension) {
  if (layout == nullptr || size < sizeof *layout) return CUBLAS_STATUS_ALLOC_FAILED;
  write(
      layout,
      LayoutState{
          .type = type, .rows = rows, .columns = columns, .leading_dimension = leading_dimension});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t operation, size_t size,
                                               cublasComputeType_t compute, cudaDataType_t scale) {
  if (operation == nullptr || size < sizeof *operation) return CUBLAS_STATUS_ALLOC_FAILED;
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  write(operation, OperationState{});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t size) {
  auto state = read<OperationState>(operation);
  if (!state) return CUBLAS_STATUS_INVALID_VALUE;
  cublasStatus_t result = CUBLAS_STATUS_NOT_SUPPORTED;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      result = take(&state->transposes_a, value, size);
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      result = take(&state->transposes_b, value, size);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      result = take(&state->epilogue, value, size);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      result = take(&state->bias, value, size);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      result = take(&state->aux, value, size);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      result = take(&state->aux_leading_dimension, value, size);
      break;
    default:
      break;
  }
  if (result == CUBLAS_STATUS_SUCCESS) write(operation, *state);
  return result;
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference,
                                                     size_t size) {
  if (preference == nullptr || size < sizeof *preference) return CUBLAS_STATUS_ALLOC_FAILED;
  write(preference, PreferenceState{});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t size) {
  auto state = read<PreferenceState>(preference);
  if (!state) return CUBLAS_STATUS_INVALID_VALUE;
  cublasStatus_t result = CUBLAS_STATUS_NOT_SUPPORTED;
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      result = take(&state->workspace_bytes, value, size);
      break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      result = take(&state->schemes, value, size);
      break;
    case CUBLASLT_MATMUL_PREF_IMPL_MASK:
      result = take(&state->implementations, value, size);
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      result = take(&state->alignments[0], value, size);
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      result = take(&state->alignments[1], value, size);
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      result = take(&state->alignments[2], value, size);
      break;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      result = take(&state->alignments[3], value, size);
      break;
    default:
      break;
  }
  if (result == CUBLAS_STATUS_SUCCESS) write(preference, *state);
  return result;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* count) {
  const auto preferred = read<PreferenceState>(preference);
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!preferred || most <= 0 || results == nullptr || count == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  *count = 0;
  ProductState product;
  const cublasStatus_t readable =
      leasehold::emulation::read_product(operation, a, b, c, d, &product);
  if (readable != CUBLAS_STATUS_SUCCESS) return readable;
  for (const AlgorithmKind kind : leasehold::emulation::offered_kinds(handle->device)) {
    const AlgorithmState algorithm{.kind = kind};
    if (*count == most || !leasehold::emulation::is_wanted(product, algorithm, *preferred))
      continue;
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    result = {};
    write(&result.algo, algorithm);
    result.workspaceSize = product.workspace_bytes(algorithm);
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1;
  }
  return *count == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  const auto algorithm = read<AlgorithmState>(algo);
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!algorithm || result == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  ProductState product;
  cublasStatus_t status = leasehold::emulation::read_product(operation, a, b, c, d, &product);
  if (status == CUBLAS_STATUS_SUCCESS) {
    const auto offered = leasehold::emulation::offered_kinds(handle->device);
    status = std::ranges::count(offered, algorithm->kind) == 0
                 ? CUBLAS_STATUS_NOT_SUPPORTED
                 : leasehold::emulation::check_algorithm(product, *algorithm, {256, 256, 256, 256});
  }
  *result = {};
  result->state = status;
  if (status == CUBLAS_STATUS_SUCCESS) result->workspaceSize = product.workspace_bytes(*algorithm);
  return status;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void* value, size_t size, size_t* written) {
  const auto algorithm = read<AlgorithmState>(algo);
  if (!algorithm) return CUBLAS_STATUS_INVALID_VALUE;
  switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      return give(static_cast<uint64_t>(algorithm->splits()), sizeof(int32_t), value, size,
                  written);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      return give(algorithm->scheme(), sizeof(uint32_t), value, size, written);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

}  // extern "C"
