// Small exchanges of host data over a host-memory communicator, blocking with a deadline, for
// agreements outside the step (manifests, digests, decisions).
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

// Waits for an operation whose buffers belong to the caller. On failure or after the deadline,
// gives up the group and waits for the copy that is running at this moment, so that the buffers may
// then be destroyed.
Status wait_or_give_up(Communicator& group, const Work& work, Deadline deadline);

// Reduces a few numbers in place. Collective.
Status all_reduce_f64(Communicator& group, Stream& stream, std::span<double> values, ReduceOp op,
                      Deadline deadline);
// Returns every rank's bytes in rank order. Collective.
Result<std::vector<std::string>> all_gather_bytes(Communicator& group, Stream& stream,
                                                  const std::string& mine, Deadline deadline);
// Returns the root's bytes on every rank. Collective.
Result<std::string> broadcast_bytes(Communicator& group, Stream& stream, const std::string& mine,
                                    int root, Deadline deadline);
// Returns ok if every rank's status is ok. Otherwise returns, on every rank, the failure of the
// lowest failing rank, or, if some failed other than by the loss of a peer (kUnavailable), of the
// lowest of those. It is prefixed by the ranks that failed with its code ("ranks 2-3: ",
// runtime/base/rank_list.h) unless all ranks did. Collective: this is how ranks leave a phase
// together.
Status agree(Communicator& group, Stream& stream, const Status& mine, Deadline deadline);
// Waits until `done` has been true on every rank, however long that takes. Collective. `done` must
// become true by itself, or by the limits of what it waits for. Meanwhile the ranks meet in short
// rounds, each with the deadline of a group whose timeout is `timeout_s`.
Status wait_for_all(Communicator& group, Stream& stream, const std::function<bool()>& done,
                    double timeout_s);
// Returns when every rank has called. Collective.
Status barrier(Communicator& group, Stream& stream, Deadline deadline);

}  // namespace leasehold
