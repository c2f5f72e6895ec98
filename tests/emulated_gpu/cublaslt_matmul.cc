// The emulation of cuBLASLt: the product itself, on its stream's thread.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <vector>

#include "tests/emulated_gpu/cublaslt_state.h"
#include "tests/emulated_gpu/device_state.h"
#include "tests/emulated_gpu/emulation.h"

namespace leasehold::emulation {

namespace {

constexpr uint64_t kPanel = 64;  // rows of D that are computed at a time
constexpr uint64_t kColumns = 4;
constexpr uint64_t kTileDepth = 32;

float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// To nearest even.
uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float round_to_tf32(float value) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + 0x1000) & 0xFFFFE000U);
}

// A matrix in device memory, columns first.
struct Matrix {
  void* data;
  LayoutState layout;
  float get(uint64_t row, uint64_t column) const { return get(layout.type, at(row, column)); }
  void set(uint64_t row, uint64_t column, float value) const {
    set(layout.type, at(row, column), value);
  }
  float get(cudaDataType type, uint64_t i) const {
    return type == CUDA_R_16BF ? from_bf16(static_cast<const uint16_t*>(data)[i])
                               : static_cast<const float*>(data)[i];
  }
  void set(cudaDataType type, uint64_t i, float value) const {
    if (type == CUDA_R_16BF) {
      static_cast<uint16_t*>(data)[i] = to_bf16(value);
    } else {
      static_cast<float*>(data)[i] = value;
    }
  }
  uint64_t at(uint64_t row, uint64_t column) const {
    return column * static_cast<uint64_t>(layout.leading_dimension) + row;
  }
};

float gelu_argument(float x) { return 0.7978845608F * (x + 0.044715F * x * x * x); }
float gelu(float x) { return 0.5F * x * (1 + std::tanh(gelu_argument(x))); }
float gelu_derivative(float x) {
  const float t = std::tanh(gelu_argument(x));
  return 0.5F * (1 + t) + 0.5F * x * (1 - t * t) * 0.7978845608F * (1 + 0.134145F * x * x);
}

class Matmul : public HostWork {
 public:
  ProductState product;
  AlgorithmState algorithm;
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;
  void* d = nullptr;
  float* workspace = nullptr;
  size_t workspace_bytes = 0;
  float alpha = 1, beta = 0;
  int device = 0;

  cudaError_t run() override {
    if (!touches_its_device_only()) return cudaErrorIllegalAddress;
    read_inputs();
    const std::vector<uint64_t> cuts = cut_depth();
    for (uint64_t row = 0; row < product.m(); row += kPanel) {
      pack_panel(row);
      for (uint64_t column = 0; column < product.n(); column += kColumns)
        compute(row, column, cuts);
    }
    if (algorithm.kind == AlgorithmKind::kSplit) add_stored();
    if (product.operation.has_bias_gradient()) sum_second_factor();
    return cudaSuccess;
  }

 private:
  // Sums over parts of the depth: [cuts[i], cuts[i + 1]) each.
  std::vector<uint64_t> cut_depth() const {
    const uint64_t k = product.k();
    std::vector<uint64_t> cuts;
    const uint64_t splits = static_cast<uint64_t>(algorithm.splits());
    const bool is_tiled = algorithm.kind == AlgorithmKind::kTiled;
    const uint64_t length = is_tiled ? kTileDepth : (k + splits - 1) / splits;
    for (uint64_t at = 0; at < k; at += length) cuts.push_back(at);
    cuts.push_back(k);
    return cuts;
  }

  bool is_in_device(const void* memory, size_t bytes) const {
    return device_of_memory(memory, bytes) == device;
  }
  bool touches_its_device_only() const {
    const OperationState& operation = product.operation;
    const auto element_bytes = static_cast<size_t>(product.d.element_bytes());
    bool fine = is_in_device(a, product.a.span_bytes()) &&
                is_in_device(b, product.b.span_bytes()) &&
                is_in_device(d, product.d.span_bytes()) &&
                (beta == 0 || is_in_device(c, product.c.span_bytes())) &&
                (workspace_bytes == 0 || is_in_device(workspace, workspace_bytes));
    if (operation.has_bias())
      fine = fine && is_in_device(operation.bias, product.m() * element_bytes);
    if (operation.has_bias_gradient()) {
      fine = fine && is_in_device(operation.bias, product.n() * element_bytes);
    }
    if (operation.keeps_aux() || operation.has_gelu_gradient()) {
      fine = fine && is_in_device(operation.aux, aux().layout.span_bytes());
    }
    if (!fine) report("cublasLtMatmul: an operand does not lie in memory of device %d", device);
    return fine;
  }

  Matrix aux() const {
    LayoutState layout = product.d;
    layout.leading_dimension = product.operation.aux_leading_dimension;
    return {product.operation.aux, layout};
  }

  float factor(float value) const {
    return algorithm.kind == AlgorithmKind::kRoundedInputs ? round_to_tf32(value) : value;
  }

  // second_[column * k + l] = op(B) (l, column)
  void read_inputs() {
    const Matrix second{const_cast<void*>(b), product.b};
    const bool turned = product.operation.transposes_b == CUBLAS_OP_T;
    const uint64_t k = product.k();
    second_.resize(k * product.n());
    for (uint64_t column = 0; column < product.n(); ++column) {
      for (uint64_t l = 0; l < k; ++l) {
        second_[column * k + l] = factor(turned ? second.get(column, l) : second.get(l, column));
      }
    }
  }

  // panel_[l * kPanel + i] = op(A) (row + i, l)
  void pack_panel(uint64_t row) {
    const Matrix first{const_cast<void*>(a), product.a};
    const bool turned = product.operation.transposes_a == CUBLAS_OP_T;
    const uint64_t height = std::min(kPanel, product.m() - row);
    panel_.assign(product.k() * kPanel, 0);
    for (uint64_t l = 0; l < product.k(); ++l) {
      for (uint64_t i = 0; i < height; ++i) {
        panel_[l * kPanel + i] = factor(turned ? first.get(l, row + i) : first.get(row + i, l));
      }
    }
  }

  // One panel's rows of up to kColumns columns of D.
  void compute(uint64_t row, uint64_t column, const std::vector<uint64_t>& cuts) {
    const uint64_t width = std::min(kColumns, product.n() - column);
    std::vector<std::array<float, kPanel* kColumns>>& parts = parts_;
    parts.resize(cuts.size() - 1);
    for (size_t part = 0; part + 1 < cuts.size(); ++part) {
      parts[part].fill(0);
      for (uint64_t l = cuts[part]; l < cuts[part + 1]; ++l) {
        const float* panel = &panel_[l * kPanel];
        for (uint64_t j = 0; j < width; ++j) {
          const float with = second_[(column + j) * product.k() + l];
          float* sums = &parts[part][j * kPanel];
          for (uint64_t i = 0; i < kPanel; ++i) sums[i] += panel[i] * with;
        }
      }
    }
    const uint64_t height = std::min(kPanel, product.m() - row);
    if (algorithm.kind == AlgorithmKind::kSplit) return store_parts(row, column, height, width);
    add_parts();
    for (uint64_t j = 0; j < width; ++j) {
      for (uint64_t i = 0; i < height; ++i) finish(row + i, column + j, parts_[0][j * kPanel + i]);
    }
  }

  // Into parts_[0], in order; in place in whatever order they come.
  void add_parts() {
    if (algorithm.kind == AlgorithmKind::kInPlace) {
      static std::atomic<size_t> calls{0};
      const size_t turn = ++calls % parts_.size();
      std::ranges::rotate(parts_, parts_.begin() + static_cast<std::ptrdiff_t>(turn));
    }
    for (size_t part = 1; part < parts_.size(); ++part) {
      for (size_t i = 0; i < parts_[0].size(); ++i) parts_[0][i] += parts_[part][i];
    }
  }

  // All parts lie in the workspace before any are added, so that one that somebody else uses
  // meanwhile shows.
  float& stored(size_t part, uint64_t row, uint64_t column) const {
    return workspace[(part * product.n() + column) * product.m() + row];
  }
  void store_parts(uint64_t row, uint64_t column, uint64_t height, uint64_t width) const {
    for (size_t part = 0; part < parts_.size(); ++part) {
      for (uint64_t j = 0; j < width; ++j) {
        for (uint64_t i = 0; i < height; ++i) {
          stored(part, row + i, column + j) = parts_[part][j * kPanel + i];
        }
      }
    }
  }
  void add_stored() const {
    for (uint64_t column = 0; column < product.n(); ++column) {
      for (uint64_t row = 0; row < product.m(); ++row) {
        float sum = stored(0, row, column);
        for (size_t part = 1; part < parts_.size(); ++part) sum += stored(part, row, column);
        finish(row, column, sum);
      }
    }
  }

  // In bf16 the product itself is rounded before it is finished, as an H100 was seen to do for some
  // shapes.
  void finish(uint64_t row, uint64_t column, float sum) const {
    const OperationState& operation = product.operation;
    float value = alpha * sum;
    const Matrix out{d, product.d};
    if (product.d.type == CUDA_R_16BF) value = from_bf16(to_bf16(value));
    if (beta != 0) value += beta * Matrix{const_cast<void*>(c), product.c}.get(row, column);
    if (operation.has_bias()) value += Matrix{operation.bias, product.d}.get(product.d.type, row);
    if (operation.keeps_aux()) aux().set(row, column, value);
    if (operation.has_gelu()) value = gelu(value);
    if (operation.has_gelu_gradient()) value *= gelu_derivative(aux().get(row, column));
    out.set(row, column, value);
  }

  // bias (n) = the sums of op(B)'s columns, over the depth.
  void sum_second_factor() const {
    const Matrix bias{product.operation.bias, product.d};
    for (uint64_t column = 0; column < product.n(); ++column) {
      float sum = 0;
      for (uint64_t l = 0; l < product.k(); ++l) sum += second_[column * product.k() + l];
      bias.set(product.d.type, column, sum);
    }
  }

  std::vector<float> second_;
  std::vector<float> panel_;
  std::vector<std::array<float, kPanel * kColumns>> parts_;
};

// The largest power of two that divides an address, at most 256.
uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<uintptr_t>(address) | 256;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

}  // namespace

}  // namespace leasehold::emulation

extern "C" cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                         const void* alpha, const void* a,
                                         cublasLtMatrixLayout_t a_layout, const void* b,
                                         cublasLtMatrixLayout_t b_layout, const void* beta,
                                         const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                                         cublasLtMatrixLayout_t d_layout,
                                         const cublasLtMatmulAlgo_t* algo, void* workspace,
                                         size_t workspace_bytes, cudaStream_t stream) {
  using leasehold::emulation::report;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const auto algorithm = leasehold::emulation::read<leasehold::emulation::AlgorithmState>(algo);
  if (!algorithm) {
    report("cublasLtMatmul: no algorithm, or none that was chosen here; Leasehold always chooses");
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (handle->device != leasehold::emulation::current_device()) {
    report("cublasLtMatmul: a handle of device %d on device %d", handle->device,
           leasehold::emulation::current_device());
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  leasehold::emulation::ProductState product;
  cublasStatus_t status = leasehold::emulation::read_product(operation, a_layout, b_layout,
                                                             c_layout, d_layout, &product);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  status = leasehold::emulation::check_algorithm(
      product, *algorithm,
      {leasehold::emulation::alignment_of(a), leasehold::emulation::alignment_of(b),
       leasehold::emulation::alignment_of(c), leasehold::emulation::alignment_of(d)});
  if (status != CUBLAS_STATUS_SUCCESS) {
    report("cublasLtMatmul: the algorithm wants more alignment than the operands have");
    return status;
  }
  const size_t needed = product.workspace_bytes(*algorithm);
  if (needed > workspace_bytes || (needed > 0 && workspace == nullptr)) {
    report("cublasLtMatmul: a workspace of %zu bytes, the algorithm needs %zu", workspace_bytes,
           needed);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (alpha == nullptr || beta == nullptr || (c != d && *static_cast<const float*>(beta) != 0)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  auto* work = new leasehold::emulation::Matmul;
  work->product = product;
  work->algorithm = *algorithm;
  work->a = a, work->b = b, work->c = c, work->d = d;
  work->workspace = static_cast<float*>(workspace);
  work->workspace_bytes = needed;
  work->alpha = *static_cast<const float*>(alpha);
  work->beta = *static_cast<const float*>(beta);
  work->device = leasehold::emulation::current_device();
  return leasehold::emulation::enqueue(stream, work) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}
