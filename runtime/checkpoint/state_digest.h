// One digest of the whole training state that does not depend on the layout: equal for equal state,
// however many ranks wrote it. It is the XXH3-128 of these bytes, integers little-endian in eight
// bytes each:
//   for each parameter, in bytewise order of the names:
//     length of the name, the name (UTF-8, no terminator)
//     number of dims, each extent (of the global shape)
//     high and low half of the XXH3-128 of the whole fp32 master weight, row-major; the same of m;
//     the same of v
//   then the step.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "runtime/base/digest.h"
#include "runtime/checkpoint/durable.h"

namespace leasehold {

class StateDigester {
 public:
  // Parameters must come in bytewise order of their names (checked). `digests` in the order of
  // kStateKinds.
  void add(const std::string& parameter, const Shape& shape,
           const std::array<Digest128, kStateKinds.size()>& digests);
  Digest128 finish(int64_t step);

 private:
  Digester digester_;
  std::string last_;
  bool any_ = false;
};

// Of a stored checkpoint; checks every piece's digest on the way. Local. Holds one window of a
// tensor, at most `window_elements`, at a time. Errors as load_checkpoint.
inline constexpr int64_t kStateDigestWindow = int64_t{64} << 20;
Result<Digest128> state_digest(FileSystem& files, const CheckpointHandle& checkpoint,
                               int64_t window_elements = kStateDigestWindow);
// The same, each rank of `world` (a host-memory group) reading some of the parameters. Collective;
// all ranks get the digest, or the same error.
Result<Digest128> state_digest_together(FileWork& work, const CheckpointHandle& checkpoint,
                                        Communicator& world, Stream& stream);

}  // namespace leasehold
