#include "runtime/comm/communication_meter.h"

#include <algorithm>

#include "runtime/device/cpu_stream.h"

namespace leasehold {

std::optional<double> Communication::hidden_share() const {
  if (!(busy_s > 0)) return std::nullopt;
  return std::clamp(1 - exposed_s / busy_s, 0.0, 1.0);
}

Communication& Communication::operator+=(const Communication& other) {
  busy_s += other.busy_s;
  exposed_s += other.exposed_s;
  return *this;
}

void CommunicationMeter::begin(Communicator& group) {
  num_spans_ = 0;
  group_ = group.size() > 1 ? &group : nullptr;
  if (group_ != nullptr) busy_before_s_ = group.busy_s();
}

Communication CommunicationMeter::end() {
  if (group_ == nullptr) return {};
  Communication measured{.busy_s = group_->busy_s() - busy_before_s_};
  group_ = nullptr;
  if (!(measured.busy_s >= 0)) return {};
  for (size_t i = 0; i < num_spans_; ++i) {
    const Result<double> seconds = spans_[i].end->seconds_since(*spans_[i].begin);
    if (!seconds.ok()) return {};
    measured.exposed_s += *seconds;
  }
  return measured;
}

bool CommunicationMeter::is_inline(const Stream& stream) {
  const auto* cpu_stream = dynamic_cast<const CpuStream*>(&stream);
  return cpu_stream != nullptr && cpu_stream->is_inline();
}

size_t CommunicationMeter::begin_span(Stream& stream) {
  if (num_spans_ == spans_.size()) {
    auto begin = device_.create_timed_event();
    auto end = device_.create_timed_event();
    throw_if_error(begin.status());
    throw_if_error(end.status());
    spans_.push_back({std::move(*begin), std::move(*end)});
  }
  stream.record(*spans_[num_spans_].begin);
  return num_spans_++;
}

void CommunicationMeter::end_span(size_t span, Stream& stream) { stream.record(*spans_[span].end); }

namespace {

class MeasuredWork : public WorkState {
 public:
  explicit MeasuredWork(CommunicationMeter& meter) : meter_(meter) {}
  void set(Work work) { work_ = std::move(work); }
  void then(Stream& stream) override {
    meter_.around_wait(stream, [&] { work_.then(stream); });
  }
  bool ready() const override { return work_.ready(); }
  Status wait(Deadline deadline) override { return work_.wait(deadline); }

 private:
  CommunicationMeter& meter_;
  Work work_;
};

class MeasuredCommunicator : public Communicator {
 public:
  MeasuredCommunicator(Communicator& inner, CommunicationMeter& meter)
      : inner_(inner), meter_(meter) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  const std::string& name() const override { return inner_.name(); }
  Status health() const override { return inner_.health(); }
  void abort(const Status& reason) override { inner_.abort(reason); }
  double busy_s() override { return inner_.busy_s(); }
  Result<std::unique_ptr<Communicator>> split(int color, int key,
                                              const std::string& name) override {
    return inner_.split(color, key, name);
  }

 protected:
  Work do_all_reduce(Tensor data, ReduceOp op, Stream& stream) override {
    return issue(stream, [&] { return inner_.all_reduce(data, op, stream); });
  }
  Work do_all_gather(Tensor input, Tensor output, Stream& stream) override {
    return issue(stream, [&] { return inner_.all_gather(input, output, stream); });
  }
  Work do_reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream) override {
    return issue(stream, [&] { return inner_.reduce_scatter(input, output, op, stream); });
  }
  Work do_all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv,
                     Stream& stream) override {
    return issue(stream, [&] { return inner_.all_to_all(send, recv, stream); });
  }
  Work do_broadcast(Tensor data, int root, Stream& stream) override {
    return issue(stream, [&] { return inner_.broadcast(data, root, stream); });
  }
  // Messages between two ranks are not measured.
  Work do_send(Tensor data, int peer, Stream& stream) override {
    return inner_.send(data, peer, stream);
  }
  Work do_receive(Tensor data, int peer, Stream& stream) override {
    return inner_.receive(data, peer, stream);
  }

 private:
  template <typename Call>
  Work issue(Stream& stream, const Call& call) {
    const std::shared_ptr<MeasuredWork> work = acquire();
    meter_.around_issue(stream, [&] { work->set(call()); });
    return Work(work);
  }

  // Returns a MeasuredWork that no Work refers to any more, or a new one.
  std::shared_ptr<MeasuredWork> acquire() {
    for (const auto& work : pool_) {
      if (work.use_count() == 1) return work;
    }
    return pool_.emplace_back(std::make_shared<MeasuredWork>(meter_));
  }

  Communicator& inner_;
  CommunicationMeter& meter_;
  std::vector<std::shared_ptr<MeasuredWork>> pool_;
};

}  // namespace

std::unique_ptr<Communicator> create_measured_communicator(Communicator& inner,
                                                           CommunicationMeter& meter) {
  return std::make_unique<MeasuredCommunicator>(inner, meter);
}

}  // namespace leasehold
