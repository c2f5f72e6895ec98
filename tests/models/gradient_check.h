// Compares gradients with central differences, in double.
#pragma once

#include <functional>
#include <string>

#include "tests/support/module_harness.h"

namespace leasehold {

// Moves some elements of `value` (all of them, if they are few) a little up and down, and compares
// the change of `objective()` with `gradient`, to 1e-6 relative. Also fails if the gradients of the
// tested elements are all nearly zero, since the comparison would then show nothing. `seed` draws
// the elements.
void expect_gradient(const std::string& what, Tensor value, Tensor gradient,
                     const std::function<double()>& objective, uint64_t seed);

// Checks a module that maps (N, C) to (N, C): the gradients of its parameters and of its input, for
// the sum of its outputs under random weights. `in_place`: input_gradient aliases output_gradient.
void expect_gradients_of_layer(ModuleHarness& harness, const Shape& shape, bool in_place,
                               uint64_t seed);

// Checks a whole model: the gradients of its parameters (the slots of a tied one added) for the
// mean loss.
void expect_gradients_of_model(ModuleHarness& harness, uint64_t seed);

}  // namespace leasehold
