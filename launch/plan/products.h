// Tells how long matrix products take.
#pragma once

#include "launch/plan/hardware.h"
#include "launch/plan/method.h"

namespace leasehold {

struct ProductShape {
  int64_t m = 0;  // rows of the result
  int64_t n = 0;  // columns of the result
  int64_t k = 0;  // summed over
};

// Returns the share of the multiprocessors' time that tiles of tile_m x tile_n fill: tiles run in
// waves of `units`, and the last wave is not full.
double wave_share(int64_t m, int64_t n, int64_t tile_m, int64_t tile_n, int64_t units);

// Returns the seconds of one product: 2 m n k operations at the sustained ceiling, less what a
// short k and a last wave cost, by the best of three tile sizes; at least the time of reading and
// writing.
double product_s(const ProductShape& shape, Precision precision, const Hardware& hardware,
                 const StepMethod& method);

// Returns the time of a linear of `tokens` rows from `inputs` to `outputs` channels: forward, and
// backward's two products (gradients of inputs and of weights).
struct LinearTime {
  double forward_s = 0;
  double backward_s = 0;
};
LinearTime linear_s(int64_t tokens, int64_t inputs, int64_t outputs, Precision precision,
                    const Hardware& hardware, const StepMethod& method);

}  // namespace leasehold
