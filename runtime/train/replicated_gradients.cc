#include "runtime/train/replicated_gradients.h"

namespace leasehold {

ReplicatedGradients::ReplicatedGradients(const FlatLayout& layout, const ParameterTable& table,
                                         int data_rank, Communicator& tensor, Kernels& kernels,
                                         Arenas& arenas)
    : tensor_(tensor), kernels_(kernels) {
  if (tensor.size() == 1) return;
  int64_t count = 0;
  for (const OwnedRange& range : layout.owned_by(data_rank)) {
    const Parameter& parameter = *table.all()[static_cast<size_t>(range.parameter)];
    if (!(parameter.local_shape() == parameter.spec().shape)) continue;
    ranges_.push_back(range);
    count += range.count;
  }
  own_ = arenas.communication.allocate(kernels.gradient_dtype(), Shape{count});
  all_ = arenas.communication.allocate(kernels.gradient_dtype(), Shape{count * tensor.size()});
}

void ReplicatedGradients::sum(Tensor reduced_shard, Stream& stream) {
  if (ranges_.empty()) return;
  int64_t at = 0;
  for (const OwnedRange& range : ranges_) {
    const Tensor from = reduced_shard.flat(range.shard_begin, range.count);
    stream.copy(own_.flat(at, range.count).data(), from.data(), from.size_bytes());
    at += range.count;
  }
  tensor_.all_gather(own_, all_, stream).then(stream);
  at = 0;
  const int64_t n = own_.num_elements();
  for (const OwnedRange& range : ranges_) {
    const Tensor sum = reduced_shard.flat(range.shard_begin, range.count);
    kernels_.add(stream, all_.flat(at, range.count), all_.flat(n + at, range.count), sum);
    for (int rank = 2; rank < tensor_.size(); ++rank)
      kernels_.add(stream, sum, all_.flat(rank * n + at, range.count), sum);
    at += range.count;
  }
}

}  // namespace leasehold
