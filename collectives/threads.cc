#include "collectives/threads.h"

#include <exception>
#include <mutex>
#include <thread>

#include "collectives/self.h"
#include "collectives/thread_group.h"
#include "collectives/thread_world.h"
#include "runtime/base/check.h"

namespace leasehold {

namespace {

// One rank's view of a group. The rank's own counters number its operations, so that ranks meet by
// number even if their streams are late.
class ThreadCommunicator : public Communicator, public ReportingGroup {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadGroup> group, int rank)
      : group_(std::move(group)),
        rank_(rank),
        num_sent_(static_cast<size_t>(group_->size())),
        num_received_(static_cast<size_t>(group_->size())) {}

  ~ThreadCommunicator() override {
    for (const auto& operation : pool_) {
      if (operation->ready()) continue;
      group_->abort(error(Code::kUnavailable, "{}: rank {} left before its {} was done",
                          group_->name(), rank_, to_string(operation->summary)));
      break;
    }
    group_->set_report_source(rank_, nullptr);
    group_->world().retire(std::move(pool_));
  }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  const std::string& name() const override { return group_->name(); }

  Result<std::unique_ptr<Communicator>> split(int color, int key,
                                              const std::string& name) override {
    const auto operation = acquire({.kind = OperationKind::kSplit});
    operation->sequence = num_collectives_++;
    operation->color = color;
    operation->key = key;
    operation->split_name = name;
    group_->join(*operation, ok_status());
    LEASEHOLD_RETURN_IF_ERROR(
        operation->wait(Deadline::after_s(2 * group_->world().options().timeout_s + 1)));
    const std::shared_ptr<ThreadGroup> made = std::move(operation->split_group);
    if (!made) return std::unique_ptr<Communicator>();
    if (made->size() == 1) return create_self_communicator(name);
    return std::unique_ptr<Communicator>(new ThreadCommunicator(made, operation->split_rank));
  }
  Status health() const override { return group_->health(); }
  void abort(const Status& reason) override { group_->abort(reason); }
  double busy_s() override { return group_->busy_s(rank_); }
  void set_report_source(ReportSource* source) override {
    group_->set_report_source(rank_, source);
  }
  std::vector<ReportAnswer> ask_members(double) override { return group_->ask_members(); }
  std::string describe_member(int rank) override { return fmt::format("rank {}", rank); }

 protected:
  Work do_all_reduce(Tensor data, ReduceOp op, Stream& stream) override {
    return collective({OperationKind::kAllReduce, data.dtype(), op, -1, data.num_elements()}, data,
                      data, stream);
  }
  Work do_all_gather(Tensor input, Tensor output, Stream& stream) override {
    return collective(
        {OperationKind::kAllGather, input.dtype(), ReduceOp::kSum, -1, input.num_elements()}, input,
        output, stream);
  }
  Work do_reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream) override {
    return collective({OperationKind::kReduceScatter, input.dtype(), op, -1, output.num_elements()},
                      input, output, stream);
  }
  Work do_broadcast(Tensor data, int root, Stream& stream) override {
    return collective(
        {OperationKind::kBroadcast, data.dtype(), ReduceOp::kSum, root, data.num_elements()}, data,
        data, stream);
  }
  Work do_all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv,
                     Stream& stream) override {
    const auto operation = acquire({.kind = OperationKind::kAllToAll});
    operation->sequence = num_collectives_++;
    operation->sends.assign(send.begin(), send.end());
    operation->receives.assign(recv.begin(), recv.end());
    return start(operation, stream);
  }
  Work do_send(Tensor data, int peer, Stream& stream) override {
    const auto operation =
        acquire({OperationKind::kSend, data.dtype(), ReduceOp::kSum, peer, data.num_elements()});
    operation->sequence = num_sent_[static_cast<size_t>(peer)]++;
    operation->input = data;
    return start(operation, stream);
  }
  Work do_receive(Tensor data, int peer, Stream& stream) override {
    const auto operation =
        acquire({OperationKind::kReceive, data.dtype(), ReduceOp::kSum, peer, data.num_elements()});
    operation->sequence = num_received_[static_cast<size_t>(peer)]++;
    operation->output = data;
    return start(operation, stream);
  }

 private:
  Work collective(const OperationSummary& summary, Tensor input, Tensor output, Stream& stream) {
    const auto operation = acquire(summary);
    operation->sequence = num_collectives_++;
    operation->input = input;
    operation->output = output;
    return start(operation, stream);
  }

  Work start(const std::shared_ptr<ThreadOperation>& operation, Stream& stream) {
    CpuStream* cpu_stream = &CpuStream::from(stream);
    ThreadOperation* raw = operation.get();
    cpu_stream->enqueue_always(
        [raw, cpu_stream] { raw->group->join(*raw, cpu_stream->failure()); });
    return Work(operation);
  }

  // Returns an operation that is done and that no Work refers to any more, or a new one. Injected
  // faults happen here.
  std::shared_ptr<ThreadOperation> acquire(const OperationSummary& summary) {
    const bool flip_bit = group_->world().on_call(group_->world_rank(rank_), summary);
    std::shared_ptr<ThreadOperation> operation;
    std::lock_guard lock(group_->mutex());
    for (const auto& candidate : pool_) {
      if (candidate.use_count() == 1 && candidate->done == candidate->ticket) {
        operation = candidate;
        break;
      }
    }
    if (!operation) operation = pool_.emplace_back(std::make_shared<ThreadOperation>(group_));
    ++operation->ticket;
    operation->joined = operation->matched = false;
    operation->rank = rank_;
    operation->summary = summary;
    operation->flip_bit = flip_bit;
    return operation;
  }

  std::shared_ptr<ThreadGroup> group_;
  int rank_;
  int64_t num_collectives_ = 0;
  std::vector<int64_t> num_sent_, num_received_;  // by peer
  std::vector<std::shared_ptr<ThreadOperation>> pool_;
};

class ThreadWorldImplementation : public ThreadWorld {
 public:
  ThreadWorldImplementation(int size, const ThreadWorldOptions& options) : state_(size, options) {
    std::vector<int> ranks;
    for (int r = 0; r < size; ++r) ranks.push_back(r);
    const auto group = std::make_shared<ThreadGroup>(state_, "world", ranks);
    state_.register_group(group);
    for (int r = 0; r < size; ++r)
      communicators_.push_back(std::make_unique<ThreadCommunicator>(group, r));
  }

  Communicator& communicator(int rank) override {
    return *communicators_[static_cast<size_t>(rank)];
  }
  void thaw() override { state_.thaw(); }
  ThreadWorldState& state() { return state_; }

 private:
  ThreadWorldState state_;
  std::vector<std::unique_ptr<Communicator>> communicators_;
};

std::string describe(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& caught) {
    return caught.what();
  } catch (...) {
    return "an unknown exception";
  }
}

}  // namespace

std::unique_ptr<ThreadWorld> ThreadWorld::create(int size, const ThreadWorldOptions& options) {
  LEASEHOLD_CHECK(size >= 1, "a world of {} ranks", size);
  return std::make_unique<ThreadWorldImplementation>(size, options);
}

void run_ranks(int size, const ThreadWorldOptions& options,
               const std::function<void(Communicator&)>& body) {
  LEASEHOLD_CHECK(size >= 1, "a world of {} ranks", size);
  ThreadWorldImplementation world(size, options);
  std::mutex mutex;
  std::exception_ptr first;
  const auto rank_main = [&](int rank) {
    try {
      body(world.communicator(rank));
    } catch (const RankGone&) {
      world.state().abort_groups_of(
          rank, error(Code::kUnavailable, "rank {} of the world is gone", rank));
    } catch (...) {
      const std::exception_ptr thrown = std::current_exception();
      {
        std::lock_guard lock(mutex);
        if (!first) first = thrown;
      }
      world.state().abort_groups_of(
          rank,
          error(Code::kUnavailable, "rank {} of the world failed: {}", rank, describe(thrown)));
    }
    world.state().mark_ended(rank);
  };
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) threads.emplace_back(rank_main, r);
  world.state().wait_until_still();
  world.thaw();
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace leasehold
