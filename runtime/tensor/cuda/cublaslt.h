// cuBLASLt, as far as linears use it: row-major products whose algorithms are chosen once and kept.
// cuBLASLt counts columns first, so a row-major matrix is its transpose there, and the two factors
// change places.
#pragma once

#include <cublasLt.h>
#include <map>
#include <memory>
#include <string>

#include "runtime/device/cuda_device.h"
#include "runtime/tensor/cuda/product.h"

namespace leasehold::cuda {

// Throws DeviceError that names the call and cuBLASLt's own name of the error.
void check_cublaslt(cublasStatus_t result, const char* call);

struct ProductOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  void* d = nullptr;
  void* bias = nullptr;  // read, and with kBiasGradient written: of the output's type
  void* aux = nullptr;   // with kGeluAux... written, with kGeluGradient read
};

class CublasLt {
 public:
  // How much scratch a product may take. What NVIDIA recommends for its newest parts.
  static constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;

  static Result<std::unique_ptr<CublasLt>> create(const CudaDevice& device);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  // Whether there is an algorithm that computes the product with its epilogue and repeats its bits;
  // chooses it, the first time. Throws DeviceError.
  bool can_run(const Product& product);
  // d = product, with `accumulate` d += product (no epilogue but kBiasGradient). workspace:
  // kWorkspaceBytes. Throws DeviceError, also where can_run is false.
  void run(const Product& product, const ProductOperands& operands, bool accumulate,
           void* workspace, cudaStream_t stream);

  const AlgorithmTable& table() const { return table_; }
  // How many products were met that the table did not have.
  int64_t num_choices() const { return num_choices_; }
  // Takes over the choices of a table; those made here before are forgotten. kBadConfig for one of
  // another library, or with an algorithm that cannot run here.
  Status use(const AlgorithmTable& table);

 private:
  // A product's descriptors, made once; only pointers change from call to call.
  struct Plan {
    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t a, b, d;
    std::optional<cublasLtMatmulAlgo_t> algorithm;
  };

  CublasLt(cublasLtHandle_t handle, std::string library)
      : handle_(handle), table_(std::move(library)) {}
  Plan& plan_of(const Product& product);
  static void describe(const Product& product, Plan* plan);
  std::optional<cublasLtMatmulAlgo_t> choose(const Product& product, Plan* plan);
  Status check_algorithm(const Product& product, const Plan& plan,
                         const cublasLtMatmulAlgo_t& algorithm);

  cublasLtHandle_t handle_;
  AlgorithmTable table_;
  std::map<Product, Plan> plans_;
  int64_t num_choices_ = 0;
};

}  // namespace leasehold::cuda
