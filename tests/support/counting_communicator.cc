#include "tests/support/counting_communicator.h"

namespace leasehold {

namespace {

class CountingCommunicator : public Communicator {
 public:
  CountingCommunicator(Communicator& inner, std::unique_ptr<Communicator> owned,
                       CommunicationCounts& counts)
      : owned_(std::move(owned)), inner_(inner), counts_(counts) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& name() const override { return inner_.name(); }
  Status health() const override { return inner_.health(); }
  void abort(const Status& reason) override { inner_.abort(reason); }
  double busy_s() override { return inner_.busy_s(); }

  Result<std::unique_ptr<Communicator>> split(int color, int key,
                                              const std::string& name) override {
    LEASEHOLD_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> made, inner_.split(color, key, name));
    if (made == nullptr) return made;
    Communicator& made_inner = *made;
    return std::unique_ptr<Communicator>(
        new CountingCommunicator(made_inner, std::move(made), counts_));
  }

 protected:
  Work do_all_reduce(Tensor data, ReduceOp op, Stream& stream) override {
    count(CountedOperation::kAllReduce, 2 * (size() - 1) * data.size_bytes() / size());
    return inner_.all_reduce(data, op, stream);
  }
  Work do_all_gather(Tensor input, Tensor output, Stream& stream) override {
    count(CountedOperation::kAllGather, (size() - 1) * input.size_bytes());
    return inner_.all_gather(input, output, stream);
  }
  Work do_reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream) override {
    count(CountedOperation::kReduceScatter, (size() - 1) * output.size_bytes());
    return inner_.reduce_scatter(input, output, op, stream);
  }
  Work do_all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv,
                     Stream& stream) override {
    int64_t bytes = 0;
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank()) bytes += send[static_cast<size_t>(peer)].size_bytes();
    }
    count(CountedOperation::kAllToAll, bytes);
    return inner_.all_to_all(send, recv, stream);
  }
  Work do_broadcast(Tensor data, int root, Stream& stream) override {
    count(CountedOperation::kBroadcast, rank() == root ? (size() - 1) * data.size_bytes() : 0);
    return inner_.broadcast(data, root, stream);
  }
  Work do_send(Tensor data, int peer, Stream& stream) override {
    count(CountedOperation::kSend, data.size_bytes());
    return inner_.send(data, peer, stream);
  }
  Work do_receive(Tensor data, int peer, Stream& stream) override {
    count(CountedOperation::kReceive, 0);
    return inner_.receive(data, peer, stream);
  }

 private:
  void count(CountedOperation operation, int64_t bytes_sent) {
    counts_.add(name(), operation, bytes_sent);
  }

  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
  CommunicationCounts& counts_;
};

}  // namespace

CommunicationCounts::Count CommunicationCounts::of(const std::string& group,
                                                   CountedOperation operation) const {
  const auto found = groups_.find(group);
  return found == groups_.end() ? Count{} : found->second[static_cast<size_t>(operation)];
}

CommunicationCounts::Count CommunicationCounts::of(const std::string& group) const {
  Count sum;
  const auto found = groups_.find(group);
  if (found == groups_.end()) return sum;
  for (const Count& count : found->second) {
    sum.calls += count.calls;
    sum.bytes_sent += count.bytes_sent;
  }
  return sum;
}

void CommunicationCounts::add(const std::string& group, CountedOperation operation,
                              int64_t bytes_sent) {
  Count& count = groups_[group][static_cast<size_t>(operation)];
  ++count.calls;
  count.bytes_sent += bytes_sent;
}

std::unique_ptr<Communicator> create_counting_communicator(Communicator& inner,
                                                           CommunicationCounts& counts) {
  return std::make_unique<CountingCommunicator>(inner, nullptr, counts);
}

}  // namespace leasehold
