#include "collectives/nccl.h"

#include "collectives/nccl_group.h"
#include "collectives/nccl_watch.h"
#include "collectives/self.h"
#include "runtime/base/check.h"

namespace leasehold {

namespace {

// How long a group that ends well waits for its peers to end theirs.
constexpr double kClosingLimitS = 10;

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(std::shared_ptr<NcclGroup> group, CudaDevice& device,
                   std::shared_ptr<NcclWatch> watch)
      : group_(std::move(group)), device_(device), watch_(std::move(watch)) {
    watch_->add(group_);
  }

  ~NcclCommunicator() override {
    group_->leave();
    watch_->close(group_);
    group_->release_host();
  }

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  const std::string& name() const override { return group_->name(); }
  Status health() const override { return group_->health(); }
  void abort(const Status& reason) override { group_->give_up(reason); }
  double busy_s() override { return group_->busy_s(); }
  int num_device_communicators() const override { return group_->num_communicators(); }

  // A new NCCL communicator with an id of its own: one that ncclCommSplit made would share what its
  // parent holds, and could not be aborted without it.
  Result<std::unique_ptr<Communicator>> split(int color, int key,
                                              const std::string& name) override {
    LEASEHOLD_RETURN_IF_ERROR(group_->health());
    auto host = group_->host().split(color, key, name);
    if (!host.ok()) {
      group_->give_up(host.status());
      return group_->health();
    }
    if (*host == nullptr) return std::unique_ptr<Communicator>();
    return make(std::move(*host), device_, name, group_->timeout_s(), {}, watch_);
  }

  static Result<std::unique_ptr<Communicator>> make(std::unique_ptr<Communicator> host,
                                                    CudaDevice& device, const std::string& name,
                                                    double timeout_s, const NcclOptions& options,
                                                    const std::shared_ptr<NcclWatch>& watch) {
    if (host->size() == 1) return create_self_communicator(name, device);
    LEASEHOLD_ASSIGN_OR_RETURN(
        std::shared_ptr<NcclGroup> group,
        NcclGroup::create(std::move(host), device, name, timeout_s, options));
    return std::unique_ptr<Communicator>(
        std::make_unique<NcclCommunicator>(std::move(group), device, watch));
  }

 protected:
  Work do_all_reduce(Tensor data, ReduceOp op, Stream& stream) override {
    return issue({OperationKind::kAllReduce, data.dtype(), op, -1, data.num_elements()}, data, data,
                 stream);
  }
  Work do_all_gather(Tensor input, Tensor output, Stream& stream) override {
    return issue(
        {OperationKind::kAllGather, input.dtype(), ReduceOp::kSum, -1, input.num_elements()}, input,
        output, stream);
  }
  Work do_reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream) override {
    return issue({OperationKind::kReduceScatter, input.dtype(), op, -1, output.num_elements()},
                 input, output, stream);
  }
  Work do_broadcast(Tensor data, int root, Stream& stream) override {
    return issue(
        {OperationKind::kBroadcast, data.dtype(), ReduceOp::kSum, root, data.num_elements()}, data,
        data, stream);
  }
  Work do_send(Tensor data, int peer, Stream& stream) override {
    return issue({OperationKind::kSend, data.dtype(), ReduceOp::kSum, peer, data.num_elements()},
                 data, {}, stream);
  }
  Work do_receive(Tensor data, int peer, Stream& stream) override {
    return issue({OperationKind::kReceive, data.dtype(), ReduceOp::kSum, peer, data.num_elements()},
                 {}, data, stream);
  }
  Work do_all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv,
                     Stream& stream) override {
    const auto operation = acquire();
    operation->summary = {.kind = OperationKind::kAllToAll};
    operation->sends.assign(send.begin(), send.end());
    operation->receives.assign(recv.begin(), recv.end());
    return start(operation, stream);
  }

 private:
  Work issue(const OperationSummary& summary, Tensor input, Tensor output, Stream& stream) {
    const auto operation = acquire();
    operation->summary = summary;
    operation->input = input;
    operation->output = output;
    return start(operation, stream);
  }

  Work start(const std::shared_ptr<NcclOperation>& operation, Stream& stream) {
    LEASEHOLD_CHECK(group_->use() == GroupUse::kAll || is_message(operation->summary),
                    "{}: {} in a group for messages", name(), to_string(operation->summary));
    group_->issue(operation, stream);
    watch_->wake();
    return Work(operation);
  }

  // An operation that is done and that no Work refers to any more, or a new one.
  std::shared_ptr<NcclOperation> acquire() {
    for (const auto& operation : pool_) {
      if (operation.use_count() == 1) return operation;  // in flight it has two owners at least
    }
    auto made = group_->make_operation();
    throw_if_error(made.status());
    return pool_.emplace_back(std::move(*made));
  }

  std::shared_ptr<NcclGroup> group_;
  CudaDevice& device_;
  std::shared_ptr<NcclWatch> watch_;
  std::vector<std::shared_ptr<NcclOperation>> pool_;
};

Result<std::unique_ptr<Communicator>> create_over(Communicator& bootstrap, Device& device,
                                                  const std::string& name, double timeout_s,
                                                  const NcclOptions& options,
                                                  const std::shared_ptr<NcclWatch>& watch) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto host, bootstrap.split(0, bootstrap.rank(), name));
  return NcclCommunicator::make(std::move(host), CudaDevice::from(device), name, timeout_s, options,
                                watch);
}

}  // namespace

bool nccl_built() { return true; }

void fail_cuda_stream(Stream& stream, const Status& status) {
  CudaStream::from(stream).fail(status);
}

Result<std::unique_ptr<Communicator>> create_nccl_communicator(Communicator& bootstrap,
                                                               Device& device,
                                                               const std::string& name,
                                                               double timeout_s,
                                                               const NcclOptions& options) {
  return create_over(bootstrap, device, name, timeout_s, options,
                     std::make_shared<NcclWatch>(kClosingLimitS));
}

Mesh::GroupMaker nccl_group_maker(Device& device, double timeout_s) {
  const auto watch = std::make_shared<NcclWatch>(kClosingLimitS);
  return [watch, &device, timeout_s](Communicator& host_group, GroupUse use) {
    return create_over(host_group, device, host_group.name(), timeout_s, {.use = use}, watch);
  };
}

}  // namespace leasehold
