#include "tests/runtime/tensor/plain_dropout.h"

#define LEASEHOLD_PLAIN_VECTORS
#define dropout_factors plain_dropout_factors
#include "runtime/tensor/kernels_cpu_dropout.cc"
