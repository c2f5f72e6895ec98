// Instructions that CUDA C++ has no usable name for: the second and last header that is bound to
// the CUDA compiler, with a twin of the same path (see dialect.h).
//
// Tensor cores: nvcuda::wmma loads bf16 fragments by 32-bit generic loads (CUDA 13.0) and hides
// where elements lie, so that scores would have to pass through shared memory. Here the places are
// part of the instructions' definition (PTX ISA, "Matrix fragments for mma.m16n8k16"). With group =
// lane / 4 and pair = 2 (lane % 4):
//   left (16 x 16):  words 0, 1, 2, 3 hold columns pair and pair + 1 (the first in the low half)
//                    of row group, row group + 8, then 8 columns on of the same rows;
//   right (16 x 8):  words 0, 1 hold rows pair and pair + 1, then 8 rows on, of column group;
//   sums (16 x 8):   0, 1 are columns pair and pair + 1 of row group, 2, 3 of row group + 8.
// So the sums of two neighbouring products, rounded, are a left side. All lanes of a warp take part
// in each of these functions.
//
// Copies from global to shared memory that bypass registers and go on while the thread does: a
// thread closes groups of those that it began, and waits for them; what it copied is seen by others
// behind a barrier after that.
#pragma once

#include <cstdint>

#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

// Four 8 x 8 matrices of bf16 from shared memory: lane l points at row l % 8 of matrix l / 8, 8
// elements aligned to 16 bytes. Word i receives columns pair and pair + 1 of row group of matrix i.
__device__ inline void load_matrices(const __nv_bfloat16* row, uint32_t (&words)[4]) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

// The same, transposed: word i receives rows pair and pair + 1 of column group of matrix i.
__device__ inline void load_matrices_transposed(const __nv_bfloat16* row, uint32_t (&words)[4]) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

// sums += left right, of bf16, in fp32.
__device__ inline void multiply_add(const uint32_t (&left)[4], uint32_t right0, uint32_t right1,
                                    float (&sums)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
}

// Begins to copy kBytes (4, 8 or 16), to which both addresses are aligned; zeros, and nothing is
// read, where nothing exists.
template <int kBytes>
__device__ inline void begin_copy(void* shared, const void* global, bool exists) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const auto from = __cvta_generic_to_global(global);
  const int bytes = exists ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(kBytes),
                 "r"(bytes)
                 : "memory");
  }
}

// The copies that this thread began since the last group are a group.
__device__ inline void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until all groups of this thread but the kOpen latest have been copied.
template <int kOpen>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kOpen) : "memory");
}

// 2^x to about two units in the last place; 0 where that is below 2^-126.
__device__ inline float exp2_approximate(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

}  // namespace leasehold::cuda
