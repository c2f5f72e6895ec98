// Tied parameters whose gradient slots are written by different pipeline stages: each stage reduces
// its own slot over the data axis, then the stages exchange shards and add them in slot order, so
// that both update their copy alike.
#pragma once

#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/tensor/kernels.h"
#include "runtime/train/arenas.h"
#include "runtime/train/flat_layout.h"
#include "runtime/train/model_parts.h"
#include "runtime/train/streams.h"

namespace leasehold {

class TiedGradients {
 public:
  // `parts` are all parts of the model; chunk c of this stage is parts[c * stages + stage], laid
  // out as layouts[c]. `pipeline` is the pipeline axis. At most two stages may share a parameter.
  // References must outlive the object.
  TiedGradients(const std::vector<ModelPart>& parts, const std::vector<const FlatLayout*>& layouts,
                Communicator& pipeline, Kernels& kernels, Arenas& arenas);

  // reduced[c] is chunk c's reduced shard; complete for what is enqueued on compute later.
  // Collective over the pipeline.
  void add(const std::vector<Tensor>& reduced, const Streams& streams);

 private:
  struct Link {
    size_t chunk = 0;
    int64_t begin = 0;  // of the parameter's part of the shard
    int64_t count = 0;
    int peer = 0;            // stage
    bool own_first = false;  // own slots come before the peer's
    Tensor received;
  };

  Communicator& pipeline_;
  Kernels& kernels_;
  std::vector<Link> links_;
};

}  // namespace leasehold
