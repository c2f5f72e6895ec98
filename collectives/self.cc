#include "collectives/self.h"

#include <mutex>
#include <vector>

#include "collectives/nccl.h"
#include "runtime/base/check.h"
#include "runtime/device/cpu_stream.h"

namespace leasehold {

namespace {

// An operation is done when its stream has reached the event recorded after it.
class SelfOperation : public WorkState {
 public:
  explicit SelfOperation(std::unique_ptr<Event> event) : event_(std::move(event)) {}
  Event& event() { return *event_; }
  void then(Stream& stream) override { stream.wait(*event_); }
  bool ready() const override { return event_->ready(); }
  Status wait(Deadline deadline) override { return event_->wait(deadline); }

 private:
  std::unique_ptr<Event> event_;
};

// The result of every operation of an aborted group.
class FailedOperation : public WorkState, public Waitable {
 public:
  explicit FailedOperation(Status status) : status_(std::move(status)) {}
  void then(Stream& stream) override {
    auto* cpu_stream = dynamic_cast<CpuStream*>(&stream);
    if (cpu_stream == nullptr) return fail_cuda_stream(stream, status_);
    cpu_stream->wait_for(*this, 0, 0);
  }
  bool ready() const override { return true; }
  Status wait(Deadline) override { return status_; }
  Status wait_for(uint64_t, Deadline) const override { return status_; }

 private:
  Status status_;
};

class SelfCommunicator : public Communicator {
 public:
  SelfCommunicator(std::string name, Device* device) : name_(std::move(name)), device_(device) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  const std::string& name() const override { return name_; }

  Result<std::unique_ptr<Communicator>> split(int color, int, const std::string& name) override {
    LEASEHOLD_RETURN_IF_ERROR(health());
    if (color < 0) return std::unique_ptr<Communicator>();
    return std::unique_ptr<Communicator>(new SelfCommunicator(name, device_));
  }
  Status health() const override {
    std::lock_guard lock(mutex_);
    return failed_ ? failed_->wait(Deadline::after_s(0)) : ok_status();
  }
  void abort(const Status& reason) override {
    std::lock_guard lock(mutex_);
    if (!failed_) failed_ = std::make_shared<FailedOperation>(reason);
  }
  double busy_s() override { return 0; }

 protected:
  Work do_all_reduce(Tensor, ReduceOp, Stream& stream) override { return issue({}, {}, stream); }
  Work do_all_gather(Tensor input, Tensor output, Stream& stream) override {
    return issue(input, output, stream);
  }
  Work do_reduce_scatter(Tensor input, Tensor output, ReduceOp, Stream& stream) override {
    return issue(input, output, stream);
  }
  Work do_all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv,
                     Stream& stream) override {
    return issue(send[0], recv[0], stream);
  }
  Work do_broadcast(Tensor, int, Stream& stream) override { return issue({}, {}, stream); }
  // Never called: the interface has checked that the peer is another rank of the group, and there
  // is none.
  Work do_send(Tensor, int, Stream&) override { return {}; }
  Work do_receive(Tensor, int, Stream&) override { return {}; }

 private:
  Work issue(Tensor from, Tensor to, Stream& stream) {
    {
      std::lock_guard lock(mutex_);
      if (failed_) return Work(failed_);
    }
    if (from.data() != to.data() && from.size_bytes() > 0)
      stream.copy(to.data(), from.data(), from.size_bytes());
    const std::shared_ptr<SelfOperation> operation = acquire();
    stream.record(operation->event());
    return Work(operation);
  }

  // Returns an operation that no Work refers to any more, or a new one.
  std::shared_ptr<SelfOperation> acquire() {
    std::lock_guard lock(mutex_);
    for (const auto& operation : pool_) {
      if (operation.use_count() == 1 && operation->ready()) return operation;
    }
    std::unique_ptr<Event> event =
        device_ == nullptr ? create_cpu_event() : std::move(device_->create_event()).value();
    return pool_.emplace_back(std::make_shared<SelfOperation>(std::move(event)));
  }

  std::string name_;
  Device* device_;
  mutable std::mutex mutex_;
  std::shared_ptr<FailedOperation> failed_;
  std::vector<std::shared_ptr<SelfOperation>> pool_;
};

}  // namespace

std::unique_ptr<Communicator> create_self_communicator(const std::string& name) {
  return std::make_unique<SelfCommunicator>(name, nullptr);
}

std::unique_ptr<Communicator> create_self_communicator(const std::string& name, Device& device) {
  return std::make_unique<SelfCommunicator>(name, &device);
}

}  // namespace leasehold
