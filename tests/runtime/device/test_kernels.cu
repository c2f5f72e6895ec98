#include "runtime/tensor/cuda/dialect.h"
#include "tests/runtime/device/test_kernels.h"

namespace leasehold::cuda {

namespace {

__global__ void add_one_kernel(int32_t* value) { *value += 1; }

__global__ void add_one_slowly_kernel(int32_t* value, int64_t turns) {
  const volatile int32_t* watched = value;
  const int32_t before = *watched;
  int32_t odd = 0;
  for (int64_t i = 0; i < turns; ++i) odd += *watched - before;
  *value = before + 1 + odd;
}

__global__ void hold_kernel(const volatile int32_t* gate) {
  while (*gate == 0) {
  }
}

__global__ void report_fault_kernel(FaultWord* fault, FaultWord word) { *fault = word; }

}  // namespace

void add_one(int32_t* value, cudaStream_t stream) {
  launch(add_one_kernel, dim3(1), dim3(1), 0, stream, value);
}

void add_one_slowly(int32_t* value, int64_t turns, cudaStream_t stream) {
  launch(add_one_slowly_kernel, dim3(1), dim3(1), 0, stream, value, turns);
}

void hold(const volatile int32_t* gate, cudaStream_t stream) {
  launch(hold_kernel, dim3(1), dim3(1), 0, stream, gate);
}

void report_fault(FaultWord* fault, FaultWord word, cudaStream_t stream) {
  launch(report_fault_kernel, dim3(1), dim3(1), 0, stream, fault, word);
}

}  // namespace leasehold::cuda
