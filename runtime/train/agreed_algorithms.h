// The ranks compute each matrix product by one algorithm, the one that checkpoints name. Kernels
// choose when they first meet a product; what a rank chose counts for nothing until all ranks have
// settled on it, and what was computed with a choice that another rank's replaced is computed
// again, before anything comes of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/comm/distinct_texts.h"
#include "runtime/tensor/algorithm_choices.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

// Choices of all ranks, the lowest rank's choice first.
struct MergedAlgorithms {
  AlgorithmChoices choices;
  std::string mixed;      // how a rank's library differs from those before; "" where none does
  std::string differing;  // the first product that two ranks chose for differently, or ""
};
// Pure. Each rank's choices as text, in rank order; of those that chose alike the lowest is enough.
// kBadData for a text that is none.
Result<MergedAlgorithms> merge_algorithms(const std::vector<DistinctText>& texts);

class AgreedAlgorithms {
 public:
  using Event = std::function<void(const std::string& name, const std::string& reason)>;

  // References must outlive the object. `node` is this rank's. With `report`, what cannot be agreed
  // on is an event and not a refusal.
  AgreedAlgorithms(Kernels& kernels, Communicator& world, Stream& stream, std::string node,
                   bool report, double timeout_s, Event event);

  // Local: whether these kernels chose since the ranks settled.
  bool has_new() const { return kernels_.num_choices() != num_settled_; }
  // Collective; ranks whose kernels choose nothing (a property of the job's device) do not
  // communicate. Afterwards every rank has all ranks' choices, of two different ones that of the
  // lower rank. True, on all ranks, when a choice was replaced: what was computed since the last
  // call is to be computed again. kBadConfig, naming rank, node and product, where ranks have
  // different libraries or one cannot run what another chose; with `report` an event says so, and
  // each goes on with its own.
  Result<bool> settle();
  // Of all ranks, as the last settle() left them; "" where kernels choose nothing.
  const std::string& text() const { return text_; }

  // Local. Takes over what a checkpoint says and forgets what was chosen here. True when a product
  // met so far may be computed by another algorithm than it was. kBadConfig, naming the product and
  // the way out, and nothing changed, where these kernels cannot; kBadData.
  Result<bool> use(const std::string& text);

 private:
  Kernels& kernels_;
  Communicator& world_;
  Stream& stream_;
  std::string node_;
  bool report_;
  double timeout_s_;
  Event event_;
  std::string text_;
  int64_t num_settled_ = 0;
  bool told_mixed_ = false;
};

}  // namespace leasehold
