// The table of cases that every implementation of Kernels passes: odd sizes, one row, sizes around
// the blocks of the implementations, aliased outputs, every optional tensor present and absent.
#pragma once

#include <vector>

#include "tests/runtime/tensor/operation_case.h"

namespace leasehold {

std::vector<OperationCase> linear_cases();
std::vector<OperationCase> layer_norm_cases();
std::vector<OperationCase> rms_norm_cases();
std::vector<OperationCase> swiglu_cases();
std::vector<OperationCase> rotary_cases();
std::vector<OperationCase> embedding_cases();
std::vector<OperationCase> attention_cases();
std::vector<OperationCase> cached_attention_cases();  // with rotary_forward at later positions
std::vector<OperationCase> cross_entropy_cases();
std::vector<OperationCase> elementwise_cases();  // residual_add, add, fill, cast
std::vector<OperationCase> optimizer_cases();    // squared_norms, adamw

}  // namespace leasehold
