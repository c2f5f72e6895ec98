// A group of ranks that exchange tensors. Operations are enqueued on a stream and return a Work;
// every rank of the group issues the same operations in the same order (as with NCCL).
// Implementations: collectives/self, threads, mpi, nccl.
//
// Failure: an operation that does not complete within the group's timeout fails with kUnavailable
// and names the ranks that lag or do not answer. From then on the group is aborted: every pending
// and later operation fails at once with the same status. Nothing ever hangs.
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

// An implementation's state of one operation. Implementations recycle these, so that issuing an
// operation allocates nothing after the first steps.
class WorkState {
 public:
  virtual ~WorkState() = default;
  virtual void then(Stream& stream) = 0;
  virtual bool ready() const = 0;
  virtual Status wait(Deadline deadline) = 0;
};

// A handle to an operation under way. A default-constructed Work is already done.
class Work {
 public:
  Work() = default;
  explicit Work(std::shared_ptr<WorkState> state) : state_(std::move(state)) {}

  // Makes `stream` wait: work enqueued on it after this call runs after the operation. If the
  // operation fails, the stream fails. On an inline CPU stream the host waits here.
  void then(Stream& stream) const {
    if (state_) state_->then(stream);
  }
  bool ready() const { return !state_ || state_->ready(); }
  // Waits on the host. Returns the operation's failure, or kUnavailable after the deadline.
  Status wait(Deadline deadline) const { return state_ ? state_->wait(deadline) : ok_status(); }

 private:
  std::shared_ptr<WorkState> state_;
};

// Returns the deadline for a host that waits for an operation of a group with this timeout. It is
// later than the timeout, so that the group's own failure, which names the lagging ranks, comes
// first.
inline Deadline after_group_timeout(double timeout_s) { return Deadline::after_s(timeout_s + 10); }

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const std::string& name() const = 0;  // "world", "data", ... for messages

  // Rules for all operations. Tensors are flat views; nobody else may touch their memory until the
  // Work is done. An operation starts after what was enqueued on `stream` before it. The
  // collectives of a group run one after another in the order of issue, on whatever streams.
  // Elements are f32, f64, i32, and, for operations without arithmetic, bf16 and u8. NaN
  // propagates. With size() == 1 every operation is a copy or nothing. Shapes and dtypes must agree
  // over ranks; LEASEHOLD_CHECK checks what can be seen locally.

  // Reduces (n) in place. The library chooses the order of summation, so this is not for values
  // that must keep their bits.
  Work all_reduce(Tensor data, ReduceOp op, Stream& stream);
  // Sets output (size * n) to the inputs (n) in rank order. input may be its own place in output.
  Work all_gather(Tensor input, Tensor output, Stream& stream);
  // Sets output (n) to the rank's part of the sum over ranks of input (size * n). The library
  // chooses the order of summation. output may be its own place in input.
  Work reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream);
  // Sends send[p] to rank p, which receives it in its recv[own rank]. There is one tensor per rank.
  // Sizes may differ per pair; an absent or empty tensor sends nothing. The spans may be destroyed
  // after the call; the tensors' memory must stay valid until the Work is done.
  Work all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv, Stream& stream);
  Work broadcast(Tensor data, int root, Stream& stream);
  // Send point to point. Messages from one rank to another match in the order of issue. A send may
  // wait for its receiver.
  Work send(Tensor data, int peer, Stream& stream);
  Work receive(Tensor data, int peer, Stream& stream);

  // Makes a group of the ranks with one color, ordered by (key, rank). Collective. A rank with
  // color < 0 takes part but gets nullptr. Blocks, with the group's timeout.
  virtual Result<std::unique_ptr<Communicator>> split(int color, int key,
                                                      const std::string& name) = 0;
  // Returns the failure that aborted this group, or ok. Never blocks.
  virtual Status health() const = 0;
  // Gives up: pending and later operations fail with `reason`. Local (peers may notice),
  // idempotent, callable from any thread. An operation whose data is being copied at this moment
  // may still complete; its Work tells.
  virtual void abort(const Status& reason) = 0;
  // Returns the seconds in which collectives of the group were under way on this rank. Each counts
  // from when its stream has reached it and the collectives before it are done, until it is done,
  // including the wait for peers. Only finished collectives count, not messages, and counting
  // starts with the first call at the latest. 0 with one rank, NaN if a time could not be taken.
  // Only for the rank's own thread.
  virtual double busy_s() = 0;
  // Returns how many communicators of a device's library (NCCL) the group has made so far on this
  // rank. Each takes memory, threads and sockets. 0 for groups of host memory.
  virtual int num_device_communicators() const { return 0; }

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
