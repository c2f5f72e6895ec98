#include "runtime/checkpoint/state_digest.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr int64_t kSharedWindow = 4 * kMaxPieceElements;  // of each of a node's ranks
constexpr size_t kHexDigits = 32;

using ParameterDigests = std::array<Digest128, kStateKinds.size()>;

// The manifest's order is by parameter, then by kind in the order of kStateKinds, none missing.
const StoredTensor& tensor_of(const Manifest& manifest, int64_t parameter, size_t kind) {
  return manifest.tensors[static_cast<size_t>(parameter) * kStateKinds.size() + kind];
}

void add_parameter(const Manifest& manifest, int64_t parameter, const ParameterDigests& digests,
                   StateDigester& digester) {
  const StoredTensor& weight = tensor_of(manifest, parameter, 0);
  digester.add(weight.parameter, weight.shape, digests);
}

class ParameterDigester {
 public:
  ParameterDigester(FileSystem& files, const CheckpointHandle& checkpoint, int64_t window_elements)
      : manifest_(*checkpoint.manifest), reader_(files, checkpoint), window_(window_elements) {}

  Result<ParameterDigests> digest(int64_t parameter) {
    ParameterDigests digests;
    for (size_t kind = 0; kind < digests.size(); ++kind) {
      LEASEHOLD_ASSIGN_OR_RETURN(digests[kind],
                                 digest_tensor(tensor_of(manifest_, parameter, kind)));
    }
    return digests;
  }

 private:
  Result<Digest128> digest_tensor(const StoredTensor& tensor) {
    Digester digester;
    const int64_t total = tensor.shape.num_elements();
    values_.resize(static_cast<size_t>(std::max(std::min(total, window_), std::ssize(values_))));
    for (int64_t begin = 0; begin < total; begin += window_) {
      const int64_t count = std::min(window_, total - begin);
      const StateSlice slice = {
          tensor.parameter,         tensor.kind, tensor.shape,
          Box::whole(tensor.shape), begin,       Tensor(values_.data(), DType::kF32, Shape{count})};
      LEASEHOLD_RETURN_IF_ERROR(reader_.load({&slice, 1}));
      digester.update(values_.data(), static_cast<size_t>(slice.data.size_bytes()));
    }
    return digester.finish();
  }

  const Manifest& manifest_;
  CheckpointReader reader_;
  int64_t window_;
  std::vector<float> values_;
};

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
  const Manifest& manifest = *checkpoint.manifest;
  ParameterDigester reader(files, checkpoint, window_elements);
  StateDigester digester;
  for (int64_t p = 0; p < manifest.num_parameters(); ++p) {
    LEASEHOLD_ASSIGN_OR_RETURN(const ParameterDigests digests, reader.digest(p));
    add_parameter(manifest, p, digests, digester);
  }
  return digester.finish(checkpoint.info.step);
}

Result<Digest128> state_digest_together(FileWork& work, const CheckpointHandle& checkpoint,
                                        Communicator& world, Stream& stream) {
  const Manifest& manifest = *checkpoint.manifest;
  const auto own = std::make_shared<std::string>();
  // Rank r digests parameters r, r + size, ...
  const auto digest_own = [checkpoint, own, rank = world.rank(),
                           size = world.size()](FileSystem& files) -> Status {
    ParameterDigester reader(files, checkpoint, kSharedWindow);
    for (int64_t p = rank; p < checkpoint.manifest->num_parameters(); p += size) {
      LEASEHOLD_ASSIGN_OR_RETURN(const ParameterDigests digests, reader.digest(p));
      for (const Digest128& digest : digests) *own += digest.to_hex();
    }
    return ok_status();
  };
  LEASEHOLD_RETURN_IF_ERROR(
      work.together(world, stream, "the digest of " + checkpoint.path, digest_own));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> all,
                             all_gather_bytes(world, stream, *own, work.deadline()));
  StateDigester digester;
  for (int64_t p = 0; p < manifest.num_parameters(); ++p) {
    const std::string& text = all[static_cast<size_t>(p % world.size())];
    ParameterDigests digests;
    for (size_t kind = 0; kind < digests.size(); ++kind) {
      const size_t at = static_cast<size_t>(p / world.size()) * digests.size() + kind;
      LEASEHOLD_ASSIGN_OR_RETURN(digests[kind],
                                 Digest128::from_hex(text.substr(at * kHexDigits, kHexDigits)));
    }
    add_parameter(manifest, p, digests, digester);
  }
  return digester.finish(checkpoint.info.step);
}

}  // namespace leasehold
