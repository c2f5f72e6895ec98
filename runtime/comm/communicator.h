// A group of ranks that exchange tensors. Operations are enqueued on a stream and return a Work;
// every rank of the group issues the same operations in the same order (as with NCCL).
// Implementations: collectives/self, threads, mpi, nccl.
//
// Failure: an operation that does not complete within the group's timeout fails with kUnavailable,
// naming the ranks that lag or do not answer; from then on the group is aborted, every pending and
// later operation fails at once with the same status, and nothing ever hangs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "runtime/base/status.h"
#include "runtime/device/device.h"
#include "runtime/tensor/tensor.h"

namespace leasehold {

enum class ReduceOp { kSum, kMax, kMin };

// What an implementation keeps of one operation. Implementations recycle their states, so that
// issuing an operation allocates nothing once the run is warm.
class WorkState {
 public:
  virtual ~WorkState() = default;
  virtual void then(Stream& stream) = 0;
  virtual bool ready() const = 0;
  virtual Status wait(Deadline deadline) = 0;
};

// A handle to an operation under way. The default-constructed Work is done already.
class Work {
 public:
  Work() = default;
  explicit Work(std::shared_ptr<WorkState> state) : state_(std::move(state)) {}

  // What is enqueued on `stream` after this call runs after the operation; its failure fails the
  // stream. On an inline CPU stream that means the host waits here.
  void then(Stream& stream) const {
    if (state_) state_->then(stream);
  }
  bool ready() const { return !state_ || state_->ready(); }
  // Waits on the host. The operation's failure, or kUnavailable past the deadline.
  Status wait(Deadline deadline) const { return state_ ? state_->wait(deadline) : ok_status(); }

 private:
  std::shared_ptr<WorkState> state_;
};

// How long a host waits for an operation of a group whose timeout is `timeout_s`: longer than that,
// so that the group's own failure, which names who lags, comes first.
inline Deadline after_group_timeout(double timeout_s) { return Deadline::after_s(timeout_s + 10); }

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const std::string& name() const = 0;  // "world", "data", ... for messages

  // All tensors are flat views; their memory stays untouched by others until the Work is done. An
  // operation starts after what was enqueued on `stream` before it. The collectives of a group run
  // one after another, in the order of issue, whatever their streams. Elements: f32, f64, i32,
  // and bf16 and u8 for operations without arithmetic. A NaN stays one. With size() == 1 every
  // operation is a copy or nothing. Shapes and dtypes must agree over ranks; what can be seen
  // locally is checked (LEASEHOLD_CHECK).

  // In place on (n). The order of summation is the library's: not for what must keep its bits.
  Work all_reduce(Tensor data, ReduceOp op, Stream& stream);
  // output (size * n) = the inputs (n) in rank order. input may be its own place in output.
  Work all_gather(Tensor input, Tensor output, Stream& stream);
  // output (n) = the rank's part of the sum over ranks of input (size * n). Order of summation: the
  // library's. output may be its own place in input.
  Work reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream);
  // send[p] goes to rank p, which receives it in its recv[own rank]; one tensor per rank, sizes may
  // differ per pair, absent or empty means nothing. The spans may die after the call, the tensors'
  // memory not.
  Work all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv, Stream& stream);
  Work broadcast(Tensor data, int root, Stream& stream);
  // Point to point. Messages from one rank to another match in the order of issue. A send may wait
  // for its receiver.
  Work send(Tensor data, int peer, Stream& stream);
  Work receive(Tensor data, int peer, Stream& stream);

  // Collective. Ranks with one color form a group, ordered by (key, rank); color < 0 takes part but
  // gets none (nullptr). Blocking, with the group's timeout.
  virtual Result<std::unique_ptr<Communicator>> split(int color, int key,
                                                      const std::string& name) = 0;
  // The failure that aborted this group, or ok. Never blocks.
  virtual Status health() const = 0;
  // Gives up: pending and later operations fail with `reason`. Local (peers may hear of it),
  // idempotent, callable from any thread. An operation whose data is being copied right now may
  // still complete: its Work tells.
  virtual void abort(const Status& reason) = 0;
  // Seconds in which collectives of the group were under way on this rank: each from when its
  // stream had come to it and the collectives before it were done, until it was done, waiting for
  // peers included. Of those that are done, counted from the first call on at the latest; messages
  // do not count. 0 with one rank, NaN when a time could not be taken. For the rank's own thread.
  virtual double busy_s() = 0;

 protected:
  virtual Work do_all_reduce(Tensor data, ReduceOp op, Stream& stream) = 0;
  virtual Work do_all_gather(Tensor input, Tensor output, Stream& stream) = 0;
  virtual Work do_reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream) = 0;
  virtual Work do_all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv,
                             Stream& stream) = 0;
  virtual Work do_broadcast(Tensor data, int root, Stream& stream) = 0;
  virtual Work do_send(Tensor data, int peer, Stream& stream) = 0;
  virtual Work do_receive(Tensor data, int peer, Stream& stream) = 0;
};

}  // namespace leasehold
