// Guesses how much a program recomputes whose table does not tell.
#pragma once

#include "launch/plan/hardware.h"
#include "launch/plan/step_question.h"

namespace leasehold {

// Returns the share of the layers' forwards that are computed again, from 0 to 1: the smallest one
// with which states and activations of the first stage fit into the part's memory. States: bf16
// weights and gradients, 12 bytes of optimizer a weight over the replicas (16 over the shards where
// weights are sharded). Activations: what products need again, which is norms' inputs, queries,
// keys, values, attention's output and the mlp's first product.
double recompute_share_that_fits(const StepQuestion& question, const Hardware& hardware);

}  // namespace leasehold
