#include "runtime/tensor/kernels_cuda_linear.h"

#include <algorithm>
#include <initializer_list>

#include "runtime/base/check.h"
#include "runtime/device/cuda_device.h"
#include "runtime/device/cuda_scratch.h"
#include "runtime/device/cuda_stream.h"
#include "runtime/tensor/cuda/column_sums.h"
#include "runtime/tensor/cuda/cublaslt.h"
#include "runtime/tensor/cuda/linear.h"
#include "runtime/tensor/kernels_cuda_arguments.h"

namespace leasehold {

namespace {

using cuda::CublasLt;
using cuda::Epilogue;
using cuda::Product;
using cuda::ProductForm;
using cuda::ProductOperands;

// Products in fp32 that our kernels finish in bf16 go through this much memory, some rows at a
// time.
constexpr int64_t kRowsBytes = int64_t{8} << 20;
constexpr int64_t kFloatBytes = sizeof(float);

bool are_aligned(std::initializer_list<const void*> addresses) {
  return std::ranges::all_of(addresses, [](const void* address) {
    return reinterpret_cast<uintptr_t>(address) % 16 == 0;
  });
}

Epilogue forward_epilogue(bool has_bias, Activation activation, bool has_pre) {
  if (activation == Activation::kNone) return has_bias ? Epilogue::kBias : Epilogue::kNone;
  if (has_pre) return has_bias ? Epilogue::kGeluAuxBias : Epilogue::kGeluAux;
  return has_bias ? Epilogue::kGeluBias : Epilogue::kGelu;
}

int64_t stride_of(const Tensor& rows) { return rows.is_dense() ? 0 : rows.row_stride(); }

bool is_gelu(Epilogue epilogue) {
  return epilogue != Epilogue::kNone && epilogue != Epilogue::kBias &&
         epilogue != Epilogue::kBiasGradient;
}

// T: float or __nv_bfloat16. Gradients of parameters are fp32 in both.
template <typename T>
class CudaLinearOf : public CudaLinear {
 public:
  CudaLinearOf(DType dtype, std::unique_ptr<CublasLt> products,
               std::unique_ptr<CudaScratch> scratch)
      : dtype_(dtype), products_(std::move(products)), scratch_(std::move(scratch)) {}

  void forward(Stream& stream, const Tensor& x, const Tensor& weight, const Tensor& bias,
               Activation activation, const Tensor& pre, const Tensor& y) override {
    const Product product{
        .form = ProductForm::kForward,
        .rows = x.dim(0),
        .columns = weight.dim(0),
        .depth = x.dim(1),
        .input = dtype_,
        .output = dtype_,
        .epilogue = forward_epilogue(bias.present(), activation, pre.present()),
        .aligned = are_aligned({x.data(), weight.data(), bias.data(), pre.data(), y.data()}),
        .stride = stride_of(y)};
    const ProductOperands operands{x.data(), weight.data(), y.data(), bias.data(), pre.data()};
    enqueue(stream, [&](const Memory& memory) {
      if (is_whole(product))
        return products_->run(product, operands, false, memory.workspace, memory.stream);
      finish_product(product, operands, memory, [&](const float* done, int64_t row, int64_t count) {
        const int64_t begin = row * product.columns;
        cuda::finish_linear(
            cuda::LinearFinish<T>{.product = done,
                                  .bias = elements<T>(bias),
                                  .gelu = activation == Activation::kGelu,
                                  .pre = pre.present() ? elements<T>(pre) + begin : nullptr,
                                  .y = elements<T>(y) + begin,
                                  .rows = count,
                                  .columns = product.columns},
            memory.stream);
      });
    });
  }

  void backward_input(Stream& stream, const Tensor& dy, const Tensor& weight, Activation activation,
                      const Tensor& pre, const Tensor& dx, Write write) override {
    const bool has_gelu = activation == Activation::kGelu;
    const Product product{.form = ProductForm::kInput,
                          .rows = dy.dim(0),
                          .columns = weight.dim(1),
                          .depth = weight.dim(0),
                          .input = dtype_,
                          .output = dtype_,
                          .epilogue = has_gelu ? Epilogue::kGeluGradient : Epilogue::kNone,
                          .aligned = are_aligned({dy.data(), weight.data(), pre.data(), dx.data()}),
                          .stride = stride_of(dy)};
    const ProductOperands operands{dy.data(), weight.data(), dx.data(), nullptr, pre.data()};
    enqueue(stream, [&](const Memory& memory) {
      if (is_whole(product)) {
        return products_->run(product, operands, write == Write::kAccumulate, memory.workspace,
                              memory.stream);
      }
      finish_product(product, operands, memory, [&](const float* done, int64_t row, int64_t count) {
        const int64_t begin = row * product.columns;
        cuda::finish_gelu_gradient(done, elements<T>(pre) + begin, elements<T>(dx) + begin,
                                   count * product.columns, memory.stream);
      });
    });
  }

  void backward_weight(Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& dweight,
                       const Tensor& dbias, Write write) override {
    const bool accumulate = write == Write::kAccumulate;
    Product product{.form = ProductForm::kWeight,
                    .rows = dy.dim(1),
                    .columns = x.dim(1),
                    .depth = dy.dim(0),
                    .input = dtype_,
                    .output = DType::kF32,
                    .epilogue = dbias.present() ? Epilogue::kBiasGradient : Epilogue::kNone,
                    .aligned = are_aligned({dy.data(), x.data(), dweight.data(), dbias.data()}),
                    .stride = stride_of(dy)};
    ProductOperands operands{dy.data(), x.data(), dweight.data(), dbias.data()};
    enqueue(stream, [&](const Memory& memory) {
      // cuBLASLt overwrites the gradient of the bias, also where it adds to that of the weight.
      const bool fits = product.rows * kFloatBytes <= kRowsBytes;
      const bool fused = dbias.present() && fits && is_whole(product);
      if (!fused) product.epilogue = Epilogue::kNone;
      if (fused && accumulate) operands.bias = memory.rows;
      products_->run(product, operands, accumulate, memory.workspace, memory.stream);
      if (fused && accumulate) {
        cuda::fold_partials(memory.rows, 1, product.rows, elements<float>(dbias), product.rows,
                            nullptr, true, memory.stream);
      } else if (dbias.present() && !fused) {
        LEASEHOLD_CHECK(
            cuda::column_sums_workspace_bytes(product.depth, product.rows) <= kRowsBytes,
            "a linear of {} outputs has too many for its bias", product.rows);
        cuda::column_sums(elements<T>(dy), product.depth, product.rows, elements<float>(dbias),
                          accumulate, memory.rows, memory.stream);
      }
    });
  }

  std::string arithmetic_class() const override { return products_->table().library(); }
  std::string algorithms() const override { return products_->table().to_text(); }
  int64_t num_choices() const override { return products_->num_choices(); }
  Status use_algorithms(const std::string& text) override {
    LEASEHOLD_ASSIGN_OR_RETURN(const cuda::AlgorithmTable table, cuda::AlgorithmTable::parse(text));
    return products_->use(table);
  }

 private:
  // Scratch, while a task enqueues, and where.
  struct Memory {
    void* workspace;
    float* rows;
    cudaStream_t stream;
  };

  template <typename Task>
  void enqueue(Stream& stream, const Task& task) {
    CudaStream& cuda_stream = CudaStream::from(stream);
    cuda_stream.enqueue([&](cudaStream_t handle) {
      char* scratch = scratch_->acquire(cuda_stream);
      task(Memory{scratch, reinterpret_cast<float*>(scratch + CublasLt::kWorkspaceBytes), handle});
    });
  }

  // Whether cuBLASLt does all of it. What has no epilogue is not done otherwise: run() says so. Not
  // where its short cut to tanh, seen to be off by 4e-5 of the value on an H100, would show.
  bool is_whole(const Product& product) {
    const bool is_rough = product.output == DType::kF32 && is_gelu(product.epilogue);
    return product.epilogue == Epilogue::kNone || (!is_rough && products_->can_run(product));
  }

  // The product in fp32, followed by finish(product, row, count) of its rows: all of them in the
  // output itself where that is fp32, else some at a time in memory.rows.
  template <typename Finish>
  void finish_product(const Product& whole, const ProductOperands& operands, const Memory& memory,
                      const Finish& finish) {
    if (whole.output == DType::kF32) {
      Product product = whole;
      product.epilogue = Epilogue::kNone;
      products_->run(product, {.a = operands.a, .b = operands.b, .d = operands.d}, false,
                     memory.workspace, memory.stream);
      return finish(static_cast<const float*>(operands.d), 0, whole.rows);
    }
    const int64_t room = kRowsBytes / (whole.columns * kFloatBytes);
    const int64_t step = std::max<int64_t>(room >= 64 ? room / 64 * 64 : room, 1);
    LEASEHOLD_CHECK(room >= 1, "a linear of {} columns is wider than {} bytes", whole.columns,
                    kRowsBytes);
    for (int64_t row = 0; row < whole.rows; row += step) {
      const int64_t count = std::min(step, whole.rows - row);
      const int64_t a_stride =
          whole.form == ProductForm::kInput && whole.stride > 0 ? whole.stride : whole.depth;
      const T* a = static_cast<const T*>(operands.a) + row * a_stride;
      Product product = whole;
      product.rows = count;
      product.output = DType::kF32;
      product.epilogue = Epilogue::kNone;
      product.aligned = are_aligned({a, operands.b});
      products_->run(product, {.a = a, .b = operands.b, .d = memory.rows}, false, memory.workspace,
                     memory.stream);
      finish(memory.rows, row, count);
    }
  }

  DType dtype_;
  std::unique_ptr<CublasLt> products_;
  std::unique_ptr<CudaScratch> scratch_;
};

}  // namespace

Result<std::unique_ptr<CudaLinear>> CudaLinear::create(Device& device, DType dtype) {
  LEASEHOLD_CHECK(dtype == DType::kF32 || dtype == DType::kBf16, "linears of {} on a CUDA device",
                  dtype_name(dtype));
  CudaDevice& cuda_device = CudaDevice::from(device);
  LEASEHOLD_RETURN_IF_ERROR(cuda_device.context()->make_current());
  LEASEHOLD_ASSIGN_OR_RETURN(auto products, CublasLt::create(cuda_device));
  LEASEHOLD_ASSIGN_OR_RETURN(auto scratch,
                             CudaScratch::create(device, CublasLt::kWorkspaceBytes + kRowsBytes,
                                                 "the scratch of matrix products"));
  if (dtype == DType::kF32) {
    return std::unique_ptr<CudaLinear>(
        std::make_unique<CudaLinearOf<float>>(dtype, std::move(products), std::move(scratch)));
  }
  return std::unique_ptr<CudaLinear>(std::make_unique<CudaLinearOf<__nv_bfloat16>>(
      dtype, std::move(products), std::move(scratch)));
}

}  // namespace leasehold
