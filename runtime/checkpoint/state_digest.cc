#include "runtime/checkpoint/state_digest.h"

#include <algorithm>
#include <vector>

#include "runtime/checkpoint/checkpoint_reader.h"

namespace leasehold {

namespace {

Result<Digest128> digest_tensor(CheckpointReader& reader, const StoredTensor& tensor,
                                std::vector<float>& window) {
  Digester digester;
  const int64_t total = tensor.shape.num_elements();
  for (int64_t begin = 0; begin < total; begin += std::ssize(window)) {
    const int64_t count = std::min(std::ssize(window), total - begin);
    const StateSlice slice = {
        tensor.parameter,         tensor.kind, tensor.shape,
        Box::whole(tensor.shape), begin,       Tensor(window.data(), DType::kF32, Shape{count})};
    LEASEHOLD_RETURN_IF_ERROR(reader.load({&slice, 1}));
    digester.update(window.data(), static_cast<size_t>(slice.data.size_bytes()));
  }
  return digester.finish();
}

}  // namespace

void StateDigester::add(const std::string& parameter, const Shape& shape,
                        const std::array<Digest128, kStateKinds.size()>& digests) {
  LEASEHOLD_CHECK(!any_ || last_ < parameter, "parameter '{}' after '{}'", parameter, last_);
  any_ = true;
  last_ = parameter;
  digester_.update_u64(parameter.size());
  digester_.update(parameter);
  digester_.update_u64(static_cast<uint64_t>(shape.num_dims()));
  for (const int64_t extent : shape.extents()) digester_.update_u64(static_cast<uint64_t>(extent));
  for (const Digest128& digest : digests) {
    digester_.update_u64(digest.high);
    digester_.update_u64(digest.low);
  }
}

Digest128 StateDigester::finish(int64_t step) {
  digester_.update_u64(static_cast<uint64_t>(step));
  return digester_.finish();
}

Result<Digest128> state_digest(FileSystem& files, const CheckpointHandle& checkpoint,
                               int64_t window_elements) {
  LEASEHOLD_CHECK(window_elements > 0, "a window of {} elements", window_elements);
  CheckpointReader reader(files, checkpoint);
  int64_t largest = 0;
  for (const StoredTensor& tensor : checkpoint.manifest->tensors) {
    largest = std::max(largest, tensor.shape.num_elements());
  }
  std::vector<float> window(static_cast<size_t>(std::min(largest, window_elements)));
  StateDigester digester;
  // The manifest's order is by parameter, then by kind in the order of kStateKinds, none missing.
  std::array<Digest128, kStateKinds.size()> digests;
  for (size_t i = 0; i < checkpoint.manifest->tensors.size(); ++i) {
    const StoredTensor& tensor = checkpoint.manifest->tensors[i];
    LEASEHOLD_ASSIGN_OR_RETURN(digests[i % digests.size()], digest_tensor(reader, tensor, window));
    if (i % digests.size() == digests.size() - 1)
      digester.add(tensor.parameter, tensor.shape, digests);
  }
  return digester.finish(checkpoint.info.step);
}

}  // namespace leasehold
