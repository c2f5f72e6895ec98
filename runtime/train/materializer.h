// Weights of ZeRO 3: a unit's parameters exist whole only while the unit computes. Two buffers: one
// holds the unit that computes, the other receives the next one at the same time. Shared by all
// parts that a rank holds.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/train/arenas.h"
#include "runtime/train/flat_layout.h"
#include "runtime/train/model_parts.h"
#include "runtime/train/streams.h"

namespace leasehold {

class Materializer {
 public:
  // One unit of one of the rank's parts.
  struct Visit {
    int part = 0;
    int64_t unit = 0;
    bool operator==(const Visit&) const = default;
  };
  struct Part {
    const ModelPart* plan = nullptr;
    const FlatLayout* layout = nullptr;  // made with the part's units
    ParameterTable* table = nullptr;
    Tensor value_shard;  // (num_shard_elements)
  };

  // `group` is the data axis. All references must outlive the object.
  Materializer(std::vector<Part> parts, Communicator& group, const Streams& streams, DType dtype,
               Arenas& arenas);

  // Before a step or an evaluation: the units in the order in which they will be entered, the same
  // on every rank of the group. `visits` must live until the last one is left.
  void begin(const std::vector<Visit>& visits);
  // Binds the unit's values for what is enqueued on compute from now on, and fetches the next
  // visit's meanwhile. Collective, enqueued.
  void enter(const Visit& visit);
  // What is enqueued on compute later does not see them.
  void leave(const Visit& visit);

 private:
  struct Value {
    Parameter* parameter = nullptr;
    int64_t offset = 0;  // in the buffer
  };
  struct Piece {
    const Bucket* bucket = nullptr;
    int64_t offset = 0;
  };
  struct Unit {
    std::vector<Piece> pieces;
    std::vector<Value> values;
    int64_t num_elements = 0;
  };
  struct Buffer {
    Tensor memory;
    Visit holds{-1, -1};
    std::vector<Work> works;  // that fill it; empty once waited for
  };

  static Unit plan_unit(const Part& part, const std::vector<PartUse>& uses);
  const Unit& unit_of(const Visit& visit) const;
  size_t buffer_of(const Visit& visit) const;  // 2: none
  void fetch(size_t buffer, const Visit& visit);

  std::vector<Part> parts_;
  Communicator& group_;
  const Streams& streams_;
  std::vector<std::vector<Unit>> units_;
  std::array<Buffer, 2> buffers_;
  const std::vector<Visit>* visits_ = nullptr;
  size_t next_ = 0;
};

}  // namespace leasehold
