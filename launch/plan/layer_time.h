// Tells how long one layer of a transformer takes on one rank, for one microbatch.
#pragma once

#include "launch/plan/hardware.h"
#include "launch/plan/method.h"
#include "launch/plan/step_question.h"

namespace leasehold {

struct ForwardBackward {
  double forward_s = 0;
  double backward_s = 0;
  double total_s() const { return forward_s + backward_s; }
};

// Returns the time of the four products: query, key and value; the attention's output; the mlp's
// two.
ForwardBackward layer_products(const StepQuestion& question, const Hardware& hardware,
                               const StepMethod& method);

// Returns the time of the mlp's second product, forward, which recomputing may leave out.
double last_product_s(const StepQuestion& question, const Hardware& hardware,
                      const StepMethod& method);

// Returns the time of the attention core: 4 tokens sequence channels / 2 operations forward, 2.5
// times that backward (the probabilities are computed again), at the kernel's speed, which short
// sequences do not reach. Without a fused kernel 2 and 4 halves of products without masking, and
// passes over the scores.
ForwardBackward layer_attention(const StepQuestion& question, const Hardware& hardware,
                                const StepMethod& method);

// Returns the time of norms, residual sums, activations, rotary positions, and in fp8 and fp4 the
// conversion of every operand (read once, written in rows and in columns): bytes over the sustained
// bandwidth.
ForwardBackward layer_memory_work(const StepQuestion& question, const Hardware& hardware,
                                  const StepMethod& method);

// Returns the time of the token head with the loss: a bf16 product (fp32 where the model is), and
// passes over logits.
ForwardBackward head_time(const StepQuestion& question, const Hardware& hardware,
                          const StepMethod& method);

// Returns the time of reading and adding up rows of the token table.
double embedding_s(const StepQuestion& question, const Hardware& hardware,
                   const StepMethod& method);

}  // namespace leasehold
