#include "runtime/train/tied_gradients.h"

namespace leasehold {

TiedGradients::TiedGradients(const std::vector<ModelPart>& parts,
                             const std::vector<const FlatLayout*>& layouts, Communicator& pipeline,
                             Kernels& kernels, Arenas& arenas)
    : pipeline_(pipeline), kernels_(kernels) {
  const auto num_stages = static_cast<size_t>(pipeline.size());
  for (size_t chunk = 0; chunk < layouts.size(); ++chunk) {
    const size_t own = chunk * num_stages + static_cast<size_t>(pipeline.rank());
    const FlatLayout& layout = *layouts[chunk];
    for (size_t p = 0; p < layout.parameters.size(); ++p) {
      const FlatParameter& flat = layout.parameters[p];
      for (size_t other = 0; other < parts.size(); ++other) {
        if (other == own) continue;
        for (size_t q = 0; q < parts[other].parameters.size(); ++q) {
          if (parts[other].parameters[q].name != flat.name) continue;
          LEASEHOLD_CHECK(other % num_stages != own % num_stages,
                          "{} is shared by two chunks of one stage", flat.name);
          Link link{.chunk = chunk,
                    .peer = static_cast<int>(other % num_stages),
                    .own_first = flat.slots.front() < parts[other].slots[q].front()};
          const std::vector<int> buckets = layout.buckets_of(static_cast<int>(p), 0);
          link.begin = layout.buckets[static_cast<size_t>(buckets.front())].shard_begin;
          for (const int b : buckets)
            link.count += layout.buckets[static_cast<size_t>(b)].shard_elements;
          link.received =
              arenas.communication.allocate(kernels.gradient_dtype(), Shape{link.count});
          links_.push_back(link);
        }
      }
    }
  }
}

void TiedGradients::add(const std::vector<Tensor>& reduced, const Streams& streams) {
  for (const Link& link : links_) {
    const Tensor own = reduced[link.chunk].flat(link.begin, link.count);
    streams.order(*streams.compute, *streams.transfer);
    const Work received = pipeline_.receive(link.received, link.peer, *streams.transfer);
    const Work sent = pipeline_.send(own, link.peer, *streams.transfer);
    received.then(*streams.compute);
    sent.then(*streams.compute);
    kernels_.add(*streams.compute, link.own_first ? own : link.received,
                 link.own_first ? link.received : own, own);
  }
}

}  // namespace leasehold
