// Runs of kernels and of pairs of streams that tell whether their results are right.
#pragma once

#include "tests/emulated_gpu/self_test/fixture.h"
#include "tests/emulated_gpu/self_test/kernels.h"

namespace leasehold::self_test {

// What a producer and a consumer on two streams, twice over one buffer, forget.
enum class Missing { kNothing, kWaitForProducer, kWaitForConsumer, kRecord, kHostWait };

class MutantsTest : public EmulationTest {
 protected:
  // Each runs once, in the order of the current seed.
  bool block_sums_are_right(Fault fault);
  bool reversed_twice_is_right(Fault fault);
  bool streams_are_right(Missing missing);
};

}  // namespace leasehold::self_test
