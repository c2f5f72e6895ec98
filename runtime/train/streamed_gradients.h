// Gradients in shards (ZeRO 2 and 3; Rajbhandari et al., arXiv:1910.02054). Microbatches go round
// the data ranks: in round r rank p computes microbatch r * size + p. After a unit's backward its
// gradients go to their owners, who add them to the canonical tree with a binary counter of at most
// log2(M) + 1 shards. Needs as many lanes as microbatches with the canonical reduction.
#pragma once

#include <vector>

#include "runtime/comm/tree.h"
#include "runtime/train/gradient_exchange.h"
#include "runtime/train/model_parts.h"

namespace leasehold {

// Elements of gradient space that the largest unit of a part writes.
int64_t largest_unit_elements(const ModelPart& part, const FlatLayout& layout);

class StreamedGradients : public Gradients {
 public:
  // The layout must have been made with the part's units. `exchange` is shared by the rank's parts.
  // All references must outlive the object.
  StreamedGradients(const ModelPart& part, const FlatLayout& layout, ParameterTable& table,
                    Kernels& kernels, int64_t num_microbatches, Reduction reduction,
                    GradientExchange& exchange, const Streams& streams, Arenas& arenas);

  Write begin_microbatch(int64_t i) override;
  void before_backward(int64_t unit) override;
  void after_backward(int64_t unit) override;
  void end_microbatch() override {}
  void finish() override;

  Tensor reduced_shard() const override;
  Tensor value_buffer() const override { return {}; }

 private:
  struct UnitBucket {
    int bucket = 0;
    int64_t offset = 0;  // of its elements in the unit's buffer
  };
  struct UnitGradient {
    Parameter* parameter = nullptr;
    int slot = 0;
    int64_t offset = 0;  // in the unit's buffer
  };
  struct Gap {
    int64_t offset = 0;
    int64_t count = 0;
  };
  struct UnitPlan {
    std::vector<UnitBucket> buckets;
    std::vector<UnitGradient> gradients;
    std::vector<Gap> gaps;  // padding, which must be zero: squares of it are summed
  };

  UnitPlan plan_unit(const std::vector<PartUse>& uses, ParameterTable& table) const;
  void take(const Bucket& bucket, int64_t round, const std::vector<Tensor>& parts);
  Tensor place(int buffer, const Bucket& bucket) const;

  const FlatLayout& layout_;
  Kernels& kernels_;
  Reduction reduction_;
  GradientExchange& exchange_;
  const Streams& streams_;
  GradientExchange::Taker taker_;

  std::vector<UnitPlan> units_;
  MergePlan merges_;             // of all microbatches; one buffer without merges when fast
  std::vector<Tensor> buffers_;  // each (num_all_shard_elements)
  int root_ = 0;
  int64_t round_ = 0;
  Tensor current_;  // the buffer of the unit under way
};

}  // namespace leasehold
