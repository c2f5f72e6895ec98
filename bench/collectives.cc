// Speed of the MPI communicator: each operation against the raw, blocking MPI call, called
// alternately in one run, and the canonical reduce-scatter + all-gather against MPI_Allreduce. A
// time is the median over rounds of the slowest rank's; every call starts behind a barrier. Run
// under mpirun with two ranks or more.
//
// Bus bandwidth as nccl-tests define it, with n ranks and S the bytes of the larger
// tensor of a rank: all_reduce S/t * 2(n-1)/n; all_gather, reduce_scatter, all_to_all S/t *
// (n-1)/n; broadcast, send S/t.
#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <mpi.h>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/median.h"
#include "collectives/mpi.h"
#include "collectives/mpi_calls.h"
#include "runtime/comm/canonical_reduction.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

namespace {

constexpr double kLimitS = 60;

struct Row {
  std::string operation, raw_call;
  int64_t bytes = 0;
  double seconds = 0, raw_seconds = 0;
  double bus_factor = 1;
  double ratio() const { return seconds / raw_seconds; }
  double bus_gb_per_s() const { return static_cast<double>(bytes) / seconds * bus_factor / 1e9; }
};

void check(int returned, const char* call) { throw_if_error(check_mpi(returned, call)); }
void wait(const Work& work) { throw_if_error(work.wait(Deadline::after_s(kLimitS))); }

class Bench {
 public:
  Bench(MpiRuntime& runtime, int64_t max_bytes, double seconds_per_row,
        const std::vector<std::string>& wanted)
      : runtime_(runtime),
        world_(runtime.world()),
        seconds_per_row_(seconds_per_row),
        wanted_(wanted),
        device_(CpuDevice::create({})),
        stream_(device_->create_stream("bench").value()),
        arena_(Arena::create(*device_, "bench", 3 * max_bytes + (1 << 20)).value()),
        a_(arena_.allocate(DType::kF32, {max_bytes / 4})),
        b_(arena_.allocate(DType::kF32, {max_bytes / 4})) {}

  const std::vector<Row>& rows() const { return rows_; }

  void operations(int64_t bytes) {
    const int64_t n = bytes / 4, size = world_.size(), part = n / size;
    const int count = static_cast<int>(n), part_count = static_cast<int>(part);
    const Tensor whole = a_.flat(0, n), other = b_.flat(0, n);
    const Tensor whole_part = a_.flat(0, part), other_part = b_.flat(0, part);
    const double rest = static_cast<double>(size - 1) / static_cast<double>(size);
    add(
        {"all_reduce", "MPI_Allreduce", bytes, 0, 0, 2 * rest},
        [&] { wait(world_.all_reduce(whole, ReduceOp::kSum, *stream_)); },
        [&] {
          check(
              MPI_Allreduce(MPI_IN_PLACE, whole.data(), count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD),
              "MPI_Allreduce");
        });
    add(
        {"reduce_scatter", "MPI_Reduce_scatter_block", part * size * 4, 0, 0, rest},
        [&] {
          wait(
              world_.reduce_scatter(a_.flat(0, part * size), other_part, ReduceOp::kSum, *stream_));
        },
        [&] {
          check(MPI_Reduce_scatter_block(whole.data(), other.data(), part_count, MPI_FLOAT, MPI_SUM,
                                         MPI_COMM_WORLD),
                "MPI_Reduce_scatter_block");
        });
    add(
        {"all_gather", "MPI_Allgather", part * size * 4, 0, 0, rest},
        [&] { wait(world_.all_gather(whole_part, b_.flat(0, part * size), *stream_)); },
        [&] {
          check(MPI_Allgather(whole.data(), part_count, MPI_FLOAT, other.data(), part_count,
                              MPI_FLOAT, MPI_COMM_WORLD),
                "MPI_Allgather");
        });
    std::vector<Tensor> sends, receives;
    for (int64_t p = 0; p < size; ++p) {
      sends.push_back(a_.flat(p * part, part));
      receives.push_back(b_.flat(p * part, part));
    }
    add(
        {"all_to_all", "MPI_Alltoall", part * size * 4, 0, 0, rest},
        [&] { wait(world_.all_to_all(sends, receives, *stream_)); },
        [&] {
          check(MPI_Alltoall(whole.data(), part_count, MPI_FLOAT, other.data(), part_count,
                             MPI_FLOAT, MPI_COMM_WORLD),
                "MPI_Alltoall");
        });
    add(
        {"broadcast", "MPI_Bcast", bytes, 0, 0, 1},
        [&] { wait(world_.broadcast(whole, 0, *stream_)); },
        [&] { check(MPI_Bcast(whole.data(), count, MPI_FLOAT, 0, MPI_COMM_WORLD), "MPI_Bcast"); });
    add(
        {"send + receive", "MPI_Sendrecv", bytes, 0, 0, 1}, [&] { send_round(whole, other); },
        [&] {
          check(MPI_Sendrecv(whole.data(), count, MPI_FLOAT, next(), 0, other.data(), count,
                             MPI_FLOAT, previous(), 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
                "MPI_Sendrecv");
        });
  }

  // One lane a rank: the gradients of data parallel training, in buckets, against a plain sum of
  // all of them.
  void canonical(int64_t bytes, int64_t bucket_bytes) {
    const int64_t size = world_.size(), shard = bucket_bytes / 4 / size,
                  num_buckets = bytes / bucket_bytes;
    if (num_buckets == 0) return;
    auto kernels = create_cpu_kernels(*device_);
    const std::vector<LaneRange> lanes = assign_lanes(size, world_.size()).value();
    CanonicalReduction reduction(world_, *kernels, lanes, size, shard, arena_);
    std::vector<Work> gathers(static_cast<size_t>(num_buckets));
    const auto run = [&] {
      for (int64_t i = 0; i < num_buckets; ++i) {
        const Tensor roots[] = {a_.flat(i * shard * size, shard * size)};
        reduction.reduce(roots, shard_of(i, shard), *stream_);
      }
      reduction.flush(*stream_);
      for (int64_t i = 0; i < num_buckets; ++i) {
        gathers[static_cast<size_t>(i)] = world_.all_gather(
            shard_of(i, shard), b_.flat(i * shard * size, shard * size), *stream_);
      }
      for (const Work& gather : gathers) wait(gather);
    };
    const int64_t n = num_buckets * shard * size;
    const double rest = static_cast<double>(size - 1) / static_cast<double>(size);
    add({"canonical", "MPI_Allreduce", n * 4, 0, 0, 2 * rest}, run, [&] {
      check(MPI_Allreduce(MPI_IN_PLACE, a_.data(), static_cast<int>(n), MPI_FLOAT, MPI_SUM,
                          MPI_COMM_WORLD),
            "MPI_Allreduce");
    });
  }

 private:
  int next() const { return (world_.rank() + 1) % world_.size(); }
  int previous() const { return (world_.rank() + world_.size() - 1) % world_.size(); }
  Tensor shard_of(int64_t bucket, int64_t shard) {
    return b_.flat((bucket * world_.size() + world_.rank()) * shard, shard);
  }

  void send_round(Tensor out, Tensor in) {
    const Work received = world_.receive(in, previous(), *stream_);
    const Work sent = world_.send(out, next(), *stream_);
    wait(sent);
    wait(received);
  }

  double timed(const std::function<void()>& call, bool raw) {
    std::unique_lock mpi = runtime_.lock_mpi();
    check(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier");
    if (!raw) mpi.unlock();
    const double begin = MPI_Wtime();
    call();
    return MPI_Wtime() - begin;
  }

  // Rounds of one call each, the other one first every second time, until the time is up: rank 0
  // decides how many.
  void add(Row row, const std::function<void()>& ours, const std::function<void()>& raw) {
    if (!wanted_.empty() &&
        std::find(wanted_.begin(), wanted_.end(), row.operation) == wanted_.end())
      return;
    std::vector<double> times, raw_times;
    constexpr int kWarmRounds = 3, kFewest = 11, kMost = 2001;
    int rounds = kFewest + kWarmRounds;
    const double begin = MPI_Wtime();
    for (int i = 0; i < rounds; ++i) {
      if (i % 2 == 0) times.push_back(timed(ours, false));
      raw_times.push_back(timed(raw, true));
      if (i % 2 != 0) times.push_back(timed(ours, false));
      if (i + 1 != kWarmRounds) continue;
      times.clear();
      raw_times.clear();
      const double round_s = (MPI_Wtime() - begin) / kWarmRounds;
      rounds =
          kWarmRounds + std::clamp(static_cast<int>(seconds_per_row_ / round_s), kFewest, kMost);
      const auto mpi = runtime_.lock_mpi();
      check(MPI_Bcast(&rounds, 1, MPI_INT, 0, MPI_COMM_WORLD), "MPI_Bcast");
    }
    const auto mpi = runtime_.lock_mpi();
    for (auto* values : {&times, &raw_times}) {
      check(MPI_Allreduce(MPI_IN_PLACE, values->data(), static_cast<int>(values->size()),
                          MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD),
            "MPI_Allreduce");
    }
    row.seconds = median(times);
    row.raw_seconds = median(raw_times);
    rows_.push_back(row);
    if (world_.rank() != 0) return;
    fmt::print("{:15} {:>10} {:12.1f} {:12.1f} {:7.2f} {:10.2f}  {}\n", row.operation, row.bytes,
               row.seconds * 1e6, row.raw_seconds * 1e6, row.ratio(), row.bus_gb_per_s(),
               row.raw_call);
    std::fflush(stdout);
  }

  MpiRuntime& runtime_;
  Communicator& world_;
  double seconds_per_row_;
  std::vector<std::string> wanted_;
  std::unique_ptr<CpuDevice> device_;
  std::unique_ptr<Stream> stream_;
  Arena arena_;
  Tensor a_, b_;
  std::vector<Row> rows_;
};

void write_json(const std::string& path, const std::vector<Row>& rows, int num_ranks) {
  nlohmann::json list = nlohmann::json::array();
  for (const Row& row : rows) {
    list.push_back({{"operation", row.operation},
                    {"bytes", row.bytes},
                    {"seconds", row.seconds},
                    {"raw_call", row.raw_call},
                    {"raw_seconds", row.raw_seconds},
                    {"ratio", row.ratio()},
                    {"bus_gb_per_s", row.bus_gb_per_s()}});
  }
  std::ofstream(path)
      << nlohmann::json{{"bench", "collectives"}, {"ranks", num_ranks}, {"rows", list}}.dump(1)
      << "\n";
}

int run(int argc, char** argv) {
  CLI::App app("Speed of the MPI communicator against raw MPI; run it under mpirun");
  std::string json;
  int64_t min_bytes = 4096, max_bytes = 64 << 20, bucket_bytes = 4 << 20;
  double seconds_per_row = 0.5;
  std::vector<std::string> wanted;
  MpiOptions options{.timeout_s = kLimitS};
  app.add_option("--json", json, "also write the figures to this file");
  app.add_option("--only", wanted, "measure these operations only")->delimiter(',');
  app.add_option("--min-bytes", min_bytes, "smallest size")
      ->check(CLI::Range(int64_t{64}, int64_t{1} << 30));
  app.add_option("--max-bytes", max_bytes, "largest size")
      ->check(CLI::Range(int64_t{64}, int64_t{1} << 30));
  app.add_option("--bucket-bytes", bucket_bytes, "bucket of the canonical reduction");
  app.add_option("--seconds", seconds_per_row, "time per row");
  app.add_option("--segment-bytes", options.limits.segment_bytes, "longest message of a ring");
  app.add_option("--pipelines", options.limits.num_pipelines, "segments under way at once");
  CLI11_PARSE(app, argc, argv);

  auto runtime = MpiRuntime::create(options);
  throw_if_error(runtime.status());
  Communicator& world = (*runtime)->world();
  if (world.size() < 2)
    throw StatusError(error(Code::kUsage, "one rank has nothing to send: use mpirun -np 2"));
  {
    Bench bench(**runtime, max_bytes, seconds_per_row, wanted);
    if (world.rank() == 0) {
      fmt::print("{} ranks\n{:15} {:>10} {:>12} {:>12} {:>7} {:>10}  {}\n", world.size(),
                 "operation", "bytes", "us", "raw us", "ratio", "bus GB/s", "raw call");
    }
    for (int64_t bytes = min_bytes; bytes <= max_bytes; bytes *= 4) bench.operations(bytes);
    bench.canonical(max_bytes, std::min(bucket_bytes, max_bytes));
    if (world.rank() == 0 && !json.empty()) write_json(json, bench.rows(), world.size());
  }
  throw_if_error((*runtime)->finalize());
  return 0;
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) {
  try {
    return leasehold::run(argc, argv);
  } catch (const leasehold::StatusError& caught) {
    fmt::print(stderr, "collectives: {}\n", caught.what());
    std::fflush(nullptr);
    std::_Exit(caught.status().exit_code());
  }
}
