#include "collectives/mpi.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sched.h>
#include <unistd.h>

#include "collectives/mpi_calls.h"
#include "collectives/mpi_engine.h"
#include "collectives/self.h"
#include "runtime/base/call_limit.h"
#include "runtime/base/check.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

// Sets no limit on the stream: it would only repeat the engine's own limits, which end every
// operation.
void MpiOperation::then(Stream& stream) {
  constexpr double kNoLimitS = 1e8;
  CpuStream::from(stream).wait_for(*this, ticket, kNoLimitS);
}
bool MpiOperation::ready() const { return group.engine->ready(*this); }
Status MpiOperation::wait(Deadline deadline) { return group.engine->wait(*this, ticket, deadline); }
Status MpiOperation::wait_for(uint64_t awaited, Deadline deadline) const {
  return group.engine->wait(*this, awaited, deadline);
}

namespace {

// The least limit for start and end: processes start and end at the machine's pace, for which a
// short deadline of collectives is not meant.
constexpr double kShortestLimitS = 60;

class MpiCommunicator : public Communicator, public ReportingGroup {
 public:
  explicit MpiCommunicator(MpiGroup& group) : group_(group), engine_(*group.engine) {}
  ~MpiCommunicator() override { engine_.leave(group_); }

  int rank() const override { return group_.rank; }
  int size() const override { return static_cast<int>(group_.world_ranks.size()); }
  const std::string& name() const override { return group_.name; }
  Status health() const override { return engine_.health(group_); }
  void abort(const Status& reason) override { engine_.abort(group_, reason); }
  double busy_s() override { return engine_.busy_s(group_); }
  void set_report_source(ReportSource* source) override {
    engine_.set_report_source(group_, source);
  }
  std::vector<ReportAnswer> ask_members(double limit_s) override {
    return engine_.ask_members(group_, limit_s);
  }
  std::string describe_member(int rank) override { return engine_.describe_member(group_, rank); }

  // Gathers every rank's wish; the channel is the first one that is free on all ranks.
  Result<std::unique_ptr<Communicator>> split(int color, int key,
                                              const std::string& name) override {
    struct Wish {
      int32_t color, key, channel;
    };
    std::vector<Wish> wishes(static_cast<size_t>(size()));
    Wish mine{color, key, engine_.next_channel()};
    const Tensor input(&mine, DType::kU8, {sizeof(Wish)});
    const Tensor output(wishes.data(), DType::kU8,
                        {static_cast<int64_t>(wishes.size() * sizeof(Wish))});
    const auto operation =
        prepare({.kind = OperationKind::kAllGather, .elements = sizeof(Wish)}, input, output);
    operation->summary = {.kind = OperationKind::kSplit};
    engine_.issue(*operation);
    engine_.stream_reached(*operation, ok_status());
    // The timeout ends the operation before this deadline, so nothing refers to `wishes`
    // afterwards.
    const double limit_s = 2 * engine_.options().timeout_s + engine_.options().answer_limit_s + 10;
    LEASEHOLD_RETURN_IF_ERROR(operation->wait(Deadline::after_s(limit_s)));

    int32_t channel = 0;
    for (const Wish& wish : wishes) channel = std::max(channel, wish.channel);
    LEASEHOLD_RETURN_IF_ERROR(engine_.check_channel(channel));
    engine_.set_next_channel(channel + 1);
    if (color < 0) return std::unique_ptr<Communicator>();
    std::vector<int> members;
    for (int r = 0; r < size(); ++r) {
      if (wishes[static_cast<size_t>(r)].color == color) members.push_back(r);
    }
    std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
      return wishes[static_cast<size_t>(a)].key < wishes[static_cast<size_t>(b)].key;
    });
    if (members.size() == 1) return create_self_communicator(name);
    for (int& member : members) member = group_.world_ranks[static_cast<size_t>(member)];
    return std::unique_ptr<Communicator>(
        new MpiCommunicator(engine_.add_group(name, channel, std::move(members))));
  }

 protected:
  Work do_all_reduce(Tensor data, ReduceOp op, Stream& stream) override {
    return start(
        prepare({OperationKind::kAllReduce, data.dtype(), op, -1, data.num_elements()}, data, data),
        stream);
  }
  Work do_all_gather(Tensor input, Tensor output, Stream& stream) override {
    return start(prepare({OperationKind::kAllGather, input.dtype(), ReduceOp::kSum, -1,
                          input.num_elements()},
                         input, output),
                 stream);
  }
  Work do_reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream) override {
    return start(
        prepare({OperationKind::kReduceScatter, input.dtype(), op, -1, output.num_elements()},
                input, output),
        stream);
  }
  Work do_all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv,
                     Stream& stream) override {
    const auto operation = prepare({.kind = OperationKind::kAllToAll}, {}, {});
    operation->sends.assign(send.begin(), send.end());
    operation->receives.assign(recv.begin(), recv.end());
    return start(operation, stream);
  }
  Work do_broadcast(Tensor data, int root, Stream& stream) override {
    return start(prepare({OperationKind::kBroadcast, data.dtype(), ReduceOp::kSum, root,
                          data.num_elements()},
                         data, data),
                 stream);
  }
  Work do_send(Tensor data, int peer, Stream& stream) override {
    return start(
        prepare({OperationKind::kSend, data.dtype(), ReduceOp::kSum, peer, data.num_elements()},
                data, {}),
        stream);
  }
  Work do_receive(Tensor data, int peer, Stream& stream) override {
    return start(
        prepare({OperationKind::kReceive, data.dtype(), ReduceOp::kSum, peer, data.num_elements()},
                {}, data),
        stream);
  }

 private:
  std::shared_ptr<MpiOperation> prepare(const OperationSummary& summary, Tensor input,
                                        Tensor output) {
    auto operation = engine_.acquire(group_);
    operation->summary = summary;
    operation->call = {
        .summary = summary, .rank = rank(), .size = size(), .input = input, .output = output};
    operation->sends.clear();
    operation->receives.clear();
    return operation;
  }

  Work start(const std::shared_ptr<MpiOperation>& operation, Stream& stream) {
    CpuStream* cpu_stream = &CpuStream::from(stream);
    engine_.issue(*operation);
    MpiOperation* raw = operation.get();
    cpu_stream->enqueue_always(
        [raw, cpu_stream] { raw->group.engine->stream_reached(*raw, cpu_stream->failure()); });
    return Work(operation);
  }

  MpiGroup& group_;
  MpiEngine& engine_;
};

Result<MPI_Comm> duplicate_world(double limit_s) {
  MPI_Comm copy = MPI_COMM_NULL;
  MPI_Request request = MPI_REQUEST_NULL;
  LEASEHOLD_RETURN_IF_ERROR(
      check_mpi(MPI_Comm_idup(MPI_COMM_WORLD, &copy, &request), "MPI_Comm_idup"));
  LEASEHOLD_RETURN_IF_ERROR(wait_for_request(&request, "MPI_Comm_idup", limit_s));
  LEASEHOLD_RETURN_IF_ERROR(
      check_mpi(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
  return copy;
}

// Returns true if this process has fewer cores than there are ranks on this machine.
bool is_oversubscribed(const std::vector<std::string>& hosts, const std::string& own) {
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof(cores), &cores) != 0) return false;
  return std::ranges::count(hosts, own) > CPU_COUNT(&cores);
}

std::string host_name() {
  char name[256] = "";
  if (::gethostname(name, sizeof(name) - 1) != 0) return "unknown host";
  return name;
}

class MpiRuntimeImplementation : public MpiRuntime {
 public:
  MpiRuntimeImplementation(const MpiOptions& options, bool finalizes)
      : options_(options), finalizes_(finalizes) {}

  Status start() {
    int rank = 0, size = 0;
    LEASEHOLD_RETURN_IF_ERROR(check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank"));
    LEASEHOLD_RETURN_IF_ERROR(check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size"));
    LEASEHOLD_ASSIGN_OR_RETURN(data_, duplicate_world(options_.timeout_s));
    LEASEHOLD_ASSIGN_OR_RETURN(side_, duplicate_world(options_.timeout_s));
    const MpiEngineOptions engine_options{.timeout_s = options_.timeout_s,
                                          .answer_limit_s = options_.answer_limit_s,
                                          .limits = options_.limits};
    engine_ = std::make_unique<MpiEngine>(data_, side_, rank, engine_options);
    LEASEHOLD_RETURN_IF_ERROR(engine_->start());
    if (size == 1) {
      world_ = create_self_communicator("world");
    } else {
      std::vector<int> world_ranks;
      for (int r = 0; r < size; ++r) world_ranks.push_back(r);
      world_ = std::make_unique<MpiCommunicator>(engine_->add_group("world", 0, world_ranks));
      engine_->set_next_channel(1);
    }
    return exchange_places();
  }

  Communicator& world() override { return *world_; }
  const std::vector<std::string>& nodes() const override { return nodes_; }

  std::unique_lock<std::mutex> lock_mpi() override { return engine_->lock_mpi(); }

  Status finalize() override {
    LEASEHOLD_RETURN_IF_ERROR(world_->health());
    const auto stream = create_inline_stream("finalize", options_.timeout_s);
    LEASEHOLD_RETURN_IF_ERROR(barrier(*world_, *stream, Deadline::after_s(2 * options_.timeout_s)));
    world_.reset();
    engine_->stop();
    if (finalizes_) {
      const CallLimit limit("MPI_Finalize (every rank has come to its end by now)",
                            std::max(options_.timeout_s, kShortestLimitS), options_.overdue);
      return check_mpi(MPI_Finalize(), "MPI_Finalize");
    }
    // MPICH 5 fails here if a group that was given up has left messages that nobody received.
    (void)MPI_Comm_free(&data_);
    (void)MPI_Comm_free(&side_);
    return ok_status();
  }

 private:
  Status exchange_places() {
    const auto stream = create_inline_stream("places", options_.timeout_s);
    const std::string host = host_name();
    const std::string node = options_.node.empty() ? host : options_.node;
    const Deadline deadline = Deadline::after_s(2 * options_.timeout_s);
    LEASEHOLD_ASSIGN_OR_RETURN(nodes_, all_gather_bytes(*world_, *stream, node, deadline));
    LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> hosts,
                               all_gather_bytes(*world_, *stream, host, deadline));
    if (is_oversubscribed(hosts, host)) engine_->set_oversubscribed();
    std::vector<std::string> places;
    for (size_t r = 0; r < hosts.size(); ++r) {
      places.push_back(nodes_[r] == hosts[r]
                           ? "host " + hosts[r]
                           : fmt::format("node {} on host {}", nodes_[r], hosts[r]));
    }
    engine_->set_places(std::move(places));
    return ok_status();
  }

  MpiOptions options_;
  bool finalizes_;
  MPI_Comm data_ = MPI_COMM_NULL, side_ = MPI_COMM_NULL;
  std::unique_ptr<MpiEngine> engine_;
  std::unique_ptr<Communicator> world_;
  std::vector<std::string> nodes_;
};

// Describes the rank that waits; only the launcher knows which rank it waits for.
std::string describe_start(const MpiOptions& options) {
  const std::string node = options.node.empty() ? host_name() : options.node;
  for (const auto& [rank, size] :
       {std::pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        std::pair("PMI_RANK", "PMI_SIZE"), std::pair("PMIX_RANK", "SLURM_NTASKS")}) {
    const char* own = std::getenv(rank);
    if (own == nullptr) continue;
    const char* all = std::getenv(size);
    return fmt::format(
        "MPI_Init of rank {}{} on node {} (a rank that did not start, or hosts that "
        "cannot reach each other, keep all others waiting)",
        own, all == nullptr ? "" : fmt::format(" of {}", all), node);
  }
  return fmt::format("MPI_Init on node {}", node);
}

}  // namespace

void MpiRuntime::abort(int exit_code) { (void)MPI_Abort(MPI_COMM_WORLD, exit_code); }

Result<std::unique_ptr<MpiRuntime>> MpiRuntime::create(const MpiOptions& options) {
  int initialized = 0, provided = MPI_THREAD_SINGLE;
  LEASEHOLD_RETURN_IF_ERROR(check_mpi(MPI_Initialized(&initialized), "MPI_Initialized"));
  if (initialized == 0) {
    const CallLimit limit(describe_start(options), std::max(options.timeout_s, kShortestLimitS),
                          options.overdue);
    LEASEHOLD_RETURN_IF_ERROR(check_mpi(
        MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread"));
  }
  LEASEHOLD_RETURN_IF_ERROR(check_mpi(MPI_Query_thread(&provided), "MPI_Query_thread"));
  if (provided < MPI_THREAD_SERIALIZED) {
    return error(Code::kBadConfig, "MPI gives thread level {}, MPI_THREAD_SERIALIZED is needed",
                 provided);
  }
  for (MPI_Comm comm : {MPI_COMM_WORLD, MPI_COMM_SELF}) {
    LEASEHOLD_RETURN_IF_ERROR(
        check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
  }
  auto runtime = std::make_unique<MpiRuntimeImplementation>(options, initialized == 0);
  LEASEHOLD_RETURN_IF_ERROR(runtime->start());
  return std::unique_ptr<MpiRuntime>(std::move(runtime));
}

}  // namespace leasehold
