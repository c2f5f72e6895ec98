#include "runtime/train/gradient_exchange.h"

namespace leasehold {

GradientExchange::GradientExchange(Communicator& group, Kernels& kernels, int64_t num_microbatches,
                                   Reduction reduction, int64_t unit_elements,
                                   int64_t shard_elements, const Streams& streams, Arenas& arenas)
    : group_(group), num_microbatches_(num_microbatches), reduction_(reduction), streams_(streams) {
  const auto size = static_cast<size_t>(group.size());
  const int64_t shards = reduction == Reduction::kCanonical ? group.size() - 1 : 1;
  for (Tensor& buffer : buffers_)
    buffer = arenas.communication.allocate(kernels.gradient_dtype(), Shape{unit_elements});
  for (Transit& transit : transits_) {
    transit.received =
        arenas.communication.allocate(kernels.gradient_dtype(), Shape{shards * shard_elements});
    transit.parts.resize(size);
  }
  send_.resize(size);
  receive_.resize(size);
}

bool GradientExchange::has_microbatch(int64_t round, int rank) const {
  return round * group_.size() + rank < num_microbatches_;
}

Tensor GradientExchange::next_buffer() {
  buffer_ = 1 - buffer_;
  for (Transit& transit : transits_) {
    if (transit.bucket != nullptr && transit.buffer == buffer_) complete(transit);
  }
  streams_.meter->around_wait(
      *streams_.compute, [this] { streams_.compute->wait(*streams_.gradients_sent[buffer_]); });
  return buffers_[buffer_];
}

void GradientExchange::send(const Bucket& bucket, Tensor gradients, int64_t round,
                            const Taker& taker) {
  transit_ = 1 - transit_;
  Transit& transit = transits_[transit_];
  if (transit.bucket != nullptr) complete(transit);
  transit.bucket = &bucket;
  transit.round = round;
  transit.buffer = buffer_;
  transit.taker = &taker;
  const int64_t n = bucket.shard_elements;
  streams_.order(*streams_.compute, *streams_.communication);
  if (reduction_ == Reduction::kFast) {
    transit.parts[0] = transit.received.flat(0, n);
    transit.work =
        group_.reduce_scatter(gradients, transit.parts[0], ReduceOp::kSum, *streams_.communication);
    return;
  }
  const int me = group_.rank();
  int64_t place = 0;
  for (int p = 0; p < group_.size(); ++p) {
    const auto peer = static_cast<size_t>(p);
    const Tensor for_peer = gradients.flat(p * n, n);
    send_[peer] = p != me && has_microbatch(round, me) ? for_peer : Tensor{};
    receive_[peer] = {};
    transit.parts[peer] = {};
    if (!has_microbatch(round, p)) continue;
    if (p == me) {
      transit.parts[peer] = for_peer;
    } else {
      receive_[peer] = transit.received.flat(place++ * n, n);
      transit.parts[peer] = receive_[peer];
    }
  }
  transit.work = group_.all_to_all(send_, receive_, *streams_.communication);
}

void GradientExchange::end_buffer() {
  bool on_its_way = false;
  for (const Transit& transit : transits_)
    on_its_way = on_its_way || (transit.bucket != nullptr && transit.buffer == buffer_);
  if (!on_its_way) streams_.communication->record(*streams_.gradients_sent[buffer_]);
}

void GradientExchange::complete(Transit& transit) {
  transit.work.then(*streams_.communication);
  (*transit.taker)(*transit.bucket, transit.round, transit.parts);
  transit.bucket = nullptr;
  // Buckets complete in the order of sending, so nothing of this buffer comes after the last one;
  // an earlier one's event is recorded again.
  streams_.communication->record(*streams_.gradients_sent[transit.buffer]);
}

void GradientExchange::flush() {
  // The older one first.
  for (const size_t i : {1 - transit_, transit_}) {
    if (transits_[i].bucket != nullptr) complete(transits_[i]);
  }
}

}  // namespace leasehold
