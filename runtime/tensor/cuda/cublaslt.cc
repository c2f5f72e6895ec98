#include "runtime/tensor/cuda/cublaslt.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace leasehold::cuda {

namespace {

// The gelu epilogues want the leading dimension of what they keep to be a multiple of it.
constexpr int64_t kAuxiliaryAlignment = 8;
constexpr uint32_t kAlignedBytes = 16;
constexpr int kMostCandidates = 16;

static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(Algorithm));

cudaDataType_t type_of(DType dtype) { return dtype == DType::kBf16 ? CUDA_R_16BF : CUDA_R_32F; }

cublasLtEpilogue_t epilogue_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::kNone:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::kBias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::kGelu:
      return CUBLASLT_EPILOGUE_GELU;
    case Epilogue::kGeluBias:
      return CUBLASLT_EPILOGUE_GELU_BIAS;
    case Epilogue::kGeluAux:
      return CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::kGeluAuxBias:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::kGeluGradient:
      return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::kBiasGradient:
      // The operand whose columns are summed comes second there.
      return CUBLASLT_EPILOGUE_BGRADB;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

bool has_bias(Epilogue epilogue) {
  return epilogue == Epilogue::kBias || epilogue == Epilogue::kGeluBias ||
         epilogue == Epilogue::kGeluAuxBias || epilogue == Epilogue::kBiasGradient;
}

bool has_auxiliary(Epilogue epilogue) {
  return epilogue == Epilogue::kGeluAux || epilogue == Epilogue::kGeluAuxBias ||
         epilogue == Epilogue::kGeluGradient;
}

template <typename Value>
void set(cublasLtMatmulDescOpaque_t* operation, cublasLtMatmulDescAttributes_t attribute,
         const Value& value) {
  check_cublaslt(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value),
                 "cublasLtMatmulDescSetAttribute");
}

template <typename Value>
void set(cublasLtMatmulPreferenceOpaque_t* preference,
         cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  check_cublaslt(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
                 "cublasLtMatmulPreferenceSetAttribute");
}

// `stride`: elements between the beginnings of two columns; 0: they are dense.
cublasLtMatrixLayoutOpaque_t layout(DType dtype, int64_t rows, int64_t columns,
                                    int64_t stride = 0) {
  cublasLtMatrixLayoutOpaque_t made;
  check_cublaslt(
      cublasLtMatrixLayoutInit(&made, type_of(dtype), static_cast<uint64_t>(rows),
                               static_cast<uint64_t>(columns), stride == 0 ? rows : stride),
      "cublasLtMatrixLayoutInit");
  return made;
}

// fp32 inputs are multiplied as they are, and no sum is kept in fewer bits than fp32 has.
uint64_t allowed_implementations(const Product& product) {
  constexpr uint64_t kNarrowSums = CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_16F;
  constexpr uint64_t kRoundedInputs = CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32 |
                                      CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF |
                                      CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F;
  return ~(product.input == DType::kF32 ? kNarrowSums | kRoundedInputs : kNarrowSums);
}

cublasLtMatmulPreferenceOpaque_t preference_for(const Product& product) {
  cublasLtMatmulPreferenceOpaque_t preference;
  check_cublaslt(cublasLtMatmulPreferenceInit(&preference), "cublasLtMatmulPreferenceInit");
  set(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
      static_cast<uint64_t>(CublasLt::kWorkspaceBytes));
  // Split-K only with parts in the workspace, added in order.
  set(&preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(&preference, CUBLASLT_MATMUL_PREF_IMPL_MASK, allowed_implementations(product));
  const auto input_bytes =
      product.aligned ? kAlignedBytes : static_cast<uint32_t>(size_of(product.input));
  const auto output_bytes =
      product.aligned ? kAlignedBytes : static_cast<uint32_t>(size_of(product.output));
  set(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, input_bytes);
  set(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, input_bytes);
  set(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, output_bytes);
  set(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, output_bytes);
  return preference;
}

template <typename Value>
Value get(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  Value value{};
  size_t written = 0;
  check_cublaslt(
      cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written),
      "cublasLtMatmulAlgoConfigGetAttribute");
  return value;
}

bool repeats_its_bits(const cublasLtMatmulAlgo_t& algorithm) {
  const auto splits = get<int32_t>(algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
  const auto scheme = get<uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
  return splits == 1 || scheme == CUBLASLT_REDUCTION_SCHEME_NONE ||
         scheme == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
}

}  // namespace

void check_cublaslt(cublasStatus_t result, const char* call) {
  if (result == CUBLAS_STATUS_SUCCESS) return;
  throw_if_error(error(Code::kInternal, "{}: {}", call, cublasLtGetStatusName(result)));
}

Result<std::unique_ptr<CublasLt>> CublasLt::create(const CudaDevice& device) {
  cublasLtHandle_t handle = nullptr;
  const cublasStatus_t result = cublasLtCreate(&handle);
  if (result != CUBLAS_STATUS_SUCCESS) {
    return error(Code::kInternal, "cublasLtCreate on {}: {}", device.name(),
                 cublasLtGetStatusName(result));
  }
  const CudaDeviceProperties& part = device.properties();
  const size_t version = cublasLtGetVersion();
  return std::unique_ptr<CublasLt>(new CublasLt(
      handle, fmt::format("cuBLASLt {}.{}.{} on {}, compute capability {}.{}, {} multiprocessors",
                          version / 10000, version / 100 % 100, version % 100, part.name,
                          part.compute_capability_major, part.compute_capability_minor,
                          part.num_multiprocessors)));
}

CublasLt::~CublasLt() { cublasLtDestroy(handle_); }

void CublasLt::describe(const Product& product, Plan* plan) {
  const auto [form, rows, columns, depth, input, output, epilogue, aligned, stride] = product;
  check_cublaslt(cublasLtMatmulDescInit(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                 "cublasLtMatmulDescInit");
  const bool transposes_first = form == ProductForm::kForward;
  const bool transposes_second = form == ProductForm::kWeight;
  set(&plan->operation, CUBLASLT_MATMUL_DESC_TRANSA,
      int32_t{transposes_first ? CUBLAS_OP_T : CUBLAS_OP_N});
  set(&plan->operation, CUBLASLT_MATMUL_DESC_TRANSB,
      int32_t{transposes_second ? CUBLAS_OP_T : CUBLAS_OP_N});
  set(&plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
      static_cast<uint32_t>(epilogue_of(epilogue)));
  // Until the product runs, these addresses only tell alignment and are not followed.
  void* const any_aligned = std::bit_cast<void*>(uintptr_t{kAlignedBytes});
  if (has_bias(epilogue)) {
    set(&plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, any_aligned);
  }
  if (has_auxiliary(epilogue)) {
    set(&plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, columns);
    set(&plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, any_aligned);
  }
  plan->a = transposes_first ? layout(input, depth, columns) : layout(input, columns, depth);
  const int64_t a_stride = form == ProductForm::kForward ? 0 : stride;
  plan->b = transposes_second ? layout(input, rows, depth, a_stride)
                              : layout(input, depth, rows, a_stride);
  plan->d = layout(output, columns, rows, form == ProductForm::kForward ? stride : 0);
}

std::optional<cublasLtMatmulAlgo_t> CublasLt::choose(const Product& product, Plan* plan) {
  const bool has_epilogue = product.epilogue != Epilogue::kNone;
  if (has_epilogue && !product.aligned) return std::nullopt;
  if (has_auxiliary(product.epilogue) && product.columns % kAuxiliaryAlignment != 0) {
    return std::nullopt;
  }
  cublasLtMatmulPreferenceOpaque_t preference = preference_for(product);
  std::array<cublasLtMatmulHeuristicResult_t, kMostCandidates> candidates{};
  int count = 0;
  const cublasStatus_t result = cublasLtMatmulAlgoGetHeuristic(
      handle_, &plan->operation, &plan->a, &plan->b, &plan->d, &plan->d, &preference,
      kMostCandidates, candidates.data(), &count);
  if (result == CUBLAS_STATUS_NOT_SUPPORTED) return std::nullopt;
  check_cublaslt(result, "cublasLtMatmulAlgoGetHeuristic");
  for (int i = 0; i < count; ++i) {
    const cublasLtMatmulHeuristicResult_t& candidate = candidates[static_cast<size_t>(i)];
    if (candidate.state == CUBLAS_STATUS_SUCCESS &&
        candidate.workspaceSize <= static_cast<size_t>(kWorkspaceBytes) &&
        repeats_its_bits(candidate.algo)) {
      return candidate.algo;
    }
  }
  return std::nullopt;
}

CublasLt::Plan& CublasLt::plan_of(const Product& product) {
  const auto found = plans_.find(product);
  if (found != plans_.end()) return found->second;
  Plan plan{};
  describe(product, &plan);
  plan.algorithm = choose(product, &plan);
  ++num_choices_;
  table_.set(product, plan.algorithm ? std::optional(std::bit_cast<Algorithm>(*plan.algorithm))
                                     : std::nullopt);
  return plans_.emplace(product, plan).first->second;
}

bool CublasLt::can_run(const Product& product) { return plan_of(product).algorithm.has_value(); }

void CublasLt::run(const Product& product, const ProductOperands& operands, bool accumulate,
                   void* workspace, cudaStream_t stream) {
  Plan& plan = plan_of(product);
  if (!plan.algorithm) {
    throw_if_error(error(Code::kInternal, "{} has no algorithm for the product {}",
                         table_.library(), product.to_string()));
  }
  if (has_bias(product.epilogue)) {
    set(&plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
  }
  if (has_auxiliary(product.epilogue)) {
    set(&plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.aux);
  }
  const float alpha = 1;
  const float beta = accumulate ? 1 : 0;
  check_cublaslt(
      cublasLtMatmul(handle_, &plan.operation, &alpha, operands.b, &plan.a, operands.a, &plan.b,
                     &beta, operands.d, &plan.d, operands.d, &plan.d, &*plan.algorithm, workspace,
                     static_cast<size_t>(kWorkspaceBytes), stream),
      "cublasLtMatmul");
}

Status CublasLt::check_algorithm(const Product& product, const Plan& plan,
                                 const cublasLtMatmulAlgo_t& algorithm) {
  cublasLtMatmulHeuristicResult_t checked{};
  // The library takes descriptors by pointers to what it does not change.
  Plan copy = plan;
  const cublasStatus_t result = cublasLtMatmulAlgoCheck(handle_, &copy.operation, &copy.a, &copy.b,
                                                        &copy.d, &copy.d, &algorithm, &checked);
  if (result == CUBLAS_STATUS_SUCCESS &&
      checked.workspaceSize <= static_cast<size_t>(kWorkspaceBytes) &&
      repeats_its_bits(algorithm)) {
    return ok_status();
  }
  return error(Code::kBadConfig,
               "the algorithm that was chosen for the product {} cannot run on {}",
               product.to_string(), table_.library());
}

Status CublasLt::use(const AlgorithmTable& table) {
  if (table.library() != table_.library()) {
    return error(Code::kBadConfig, "algorithms of {} are not those of {}", table.library(),
                 table_.library());
  }
  std::map<Product, Plan> plans;
  try {
    for (const auto& [product, algorithm] : table.entries()) {
      Plan plan{};
      describe(product, &plan);
      if (algorithm) {
        plan.algorithm = std::bit_cast<cublasLtMatmulAlgo_t>(*algorithm);
        LEASEHOLD_RETURN_IF_ERROR(check_algorithm(product, plan, *plan.algorithm));
      }
      plans.emplace(product, plan);
    }
  } catch (const StatusError& caught) {
    return caught.status();
  }
  plans_ = std::move(plans);
  table_ = table;
  return ok_status();
}

}  // namespace leasehold::cuda
