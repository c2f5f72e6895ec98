#include "runtime/comm/planned_communicator.h"

namespace leasehold {

namespace {

class PlannedCommunicator : public Communicator {
 public:
  PlannedCommunicator(int rank, int size, std::string name)
      : rank_(rank), size_(size), name_(std::move(name)) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const std::string& name() const override { return name_; }
  Result<std::unique_ptr<Communicator>> split(int, int, const std::string&) override {
    return refusal();
  }
  Status health() const override { return ok_status(); }
  void abort(const Status&) override {}
  double busy_s() override { return 0; }

 protected:
  Work do_all_reduce(Tensor, ReduceOp, Stream&) override { refuse(); }
  Work do_all_gather(Tensor, Tensor, Stream&) override { refuse(); }
  Work do_reduce_scatter(Tensor, Tensor, ReduceOp, Stream&) override { refuse(); }
  Work do_all_to_all(std::span<const Tensor>, std::span<const Tensor>, Stream&) override {
    refuse();
  }
  Work do_broadcast(Tensor, int, Stream&) override { refuse(); }
  Work do_send(Tensor, int, Stream&) override { refuse(); }
  Work do_receive(Tensor, int, Stream&) override { refuse(); }

 private:
  Status refusal() const {
    return error(Code::kInternal, "{} is planned only: no rank is there to talk to", name_);
  }
  [[noreturn]] void refuse() const { throw StatusError(refusal()); }

  int rank_;
  int size_;
  std::string name_;
};

class IdleCommunicator : public PlannedCommunicator {
 public:
  using PlannedCommunicator::PlannedCommunicator;

 protected:
  Work do_all_reduce(Tensor, ReduceOp, Stream&) override { return {}; }
  Work do_all_gather(Tensor, Tensor, Stream&) override { return {}; }
  Work do_reduce_scatter(Tensor, Tensor, ReduceOp, Stream&) override { return {}; }
  Work do_all_to_all(std::span<const Tensor>, std::span<const Tensor>, Stream&) override {
    return {};
  }
  Work do_broadcast(Tensor, int, Stream&) override { return {}; }
  Work do_send(Tensor, int, Stream&) override { return {}; }
  Work do_receive(Tensor, int, Stream&) override { return {}; }
};

}  // namespace

std::unique_ptr<Communicator> create_idle_communicator(int rank, int size,
                                                       const std::string& name) {
  return std::make_unique<IdleCommunicator>(rank, size, name);
}

std::unique_ptr<Communicator> create_planned_communicator(int rank, int size,
                                                          const std::string& name) {
  return std::make_unique<PlannedCommunicator>(rank, size, name);
}

}  // namespace leasehold
