#include "runtime/train/materializer.h"

#include <algorithm>

namespace leasehold {

Materializer::Materializer(std::vector<Part> parts, Communicator& group, const Streams& streams,
                           DType dtype, Arenas& arenas)
    : parts_(std::move(parts)), group_(group), streams_(streams) {
  int64_t largest = 0;
  size_t most_pieces = 0;
  for (const Part& part : parts_) {
    std::vector<Unit>& units = units_.emplace_back();
    for (const auto& uses : part.plan->uses) {
      units.push_back(plan_unit(part, uses));
      largest = std::max(largest, units.back().num_elements);
      most_pieces = std::max(most_pieces, units.back().pieces.size());
    }
  }
  for (Buffer& buffer : buffers_) {
    buffer.memory = arenas.parameters.allocate(dtype, Shape{largest});
    buffer.works.reserve(most_pieces);
  }
}

Materializer::Unit Materializer::plan_unit(const Part& part, const std::vector<PartUse>& uses) {
  Unit unit;
  const FlatLayout& layout = *part.layout;
  for (const PartUse& use : uses) {
    const std::vector<int> buckets = layout.buckets_of(use.parameter, 0);
    for (const int b : buckets) {
      const Bucket* bucket = &layout.buckets[static_cast<size_t>(b)];
      const auto known = std::find_if(unit.pieces.begin(), unit.pieces.end(),
                                      [&](const Piece& piece) { return piece.bucket == bucket; });
      if (known != unit.pieces.end()) continue;
      unit.pieces.push_back({bucket, unit.num_elements});
      unit.num_elements += bucket->shard_elements * layout.num_ranks;
    }
    const Bucket* first = &layout.buckets[static_cast<size_t>(buckets.front())];
    const auto piece = std::find_if(unit.pieces.begin(), unit.pieces.end(),
                                    [&](const Piece& each) { return each.bucket == first; });
    const auto p = static_cast<size_t>(use.parameter);
    unit.values.push_back({part.table->all()[p].get(),
                           piece->offset + layout.parameters[p].value_begin - first->value_begin});
  }
  return unit;
}

const Materializer::Unit& Materializer::unit_of(const Visit& visit) const {
  return units_[static_cast<size_t>(visit.part)][static_cast<size_t>(visit.unit)];
}

size_t Materializer::buffer_of(const Visit& visit) const {
  return buffers_[0].holds == visit ? 0 : buffers_[1].holds == visit ? 1 : 2;
}

void Materializer::begin(const std::vector<Visit>& visits) {
  visits_ = &visits;
  next_ = 0;
  // The weights have changed since.
  for (Buffer& buffer : buffers_) {
    LEASEHOLD_CHECK(buffer.works.empty(), "weights of unit {} were fetched and never used",
                    buffer.holds.unit);
    buffer.holds = {-1, -1};
  }
  streams_.order(*streams_.compute, *streams_.communication);
}

void Materializer::fetch(size_t buffer, const Visit& visit) {
  Buffer& into = buffers_[buffer];
  into.holds = visit;
  streams_.communication->wait(*streams_.values_released[buffer]);
  const Tensor shard = parts_[static_cast<size_t>(visit.part)].value_shard;
  for (const Piece& piece : unit_of(visit).pieces) {
    const int64_t n = piece.bucket->shard_elements;
    into.works.push_back(group_.all_gather(shard.flat(piece.bucket->shard_begin, n),
                                           into.memory.flat(piece.offset, n * group_.size()),
                                           *streams_.communication));
  }
}

void Materializer::enter(const Visit& visit) {
  LEASEHOLD_CHECK(visits_ != nullptr && next_ < visits_->size() && (*visits_)[next_] == visit,
                  "unit {} of part {} is entered out of turn", visit.unit, visit.part);
  size_t buffer = buffer_of(visit);
  if (buffer == 2) {
    buffer = buffers_[0].holds.part < 0 ? 0 : 1;
    fetch(buffer, visit);
  }
  Buffer& current = buffers_[buffer];
  for (const Work& work : current.works) work.then(*streams_.compute);
  current.works.clear();
  for (const Value& value : unit_of(visit).values) {
    const Shape& shape = value.parameter->local_shape();
    value.parameter->bind_value(
        current.memory.flat(value.offset, shape.num_elements()).reshape(shape));
  }
  ++next_;
  if (next_ < visits_->size() && buffer_of((*visits_)[next_]) == 2)
    fetch(1 - buffer, (*visits_)[next_]);
}

void Materializer::leave(const Visit& visit) {
  const size_t buffer = buffer_of(visit);
  LEASEHOLD_CHECK(buffer < 2, "unit {} of part {} is left but was not entered", visit.unit,
                  visit.part);
  streams_.compute->record(*streams_.values_released[buffer]);
  for (const Value& value : unit_of(visit).values) value.parameter->bind_value({});
}

}  // namespace leasehold
