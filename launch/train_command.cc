#include "launch/train_command.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "launch/compose.h"
#include "launch/gpu_places.h"
#include "launch/kernel_sets.h"
#include "launch/outside_plan.h"
#include "launch/progress.h"
#include "launch/start_facts.h"
#include "launch/supervision.h"
#include "launch/supervisor/forecast_words.h"
#include "models/gpt.h"
#include "runtime/base/resource_exhausted.h"
#include "runtime/checkpoint/snapshot_room.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr double kDefaultTimeoutS = 300;  // if the job cannot be read

void print_layout(const JobFile& job, const MeshShape& mesh) {
  fmt::print("model: {} family, {} parameters, {} floating point operations per token\n",
             job.model.family, num_parameters(job.model), flops_per_token(job.model));
  fmt::print(
      "batch: {} sequences of {} tokens = {} microbatches of {} in {} lanes, over {} ranks\n",
      job.batch.sequences, job.model.sequence, job.batch.num_microbatches(), job.batch.microbatch,
      job.batch.lanes, mesh.num_ranks());
  fmt::print("layout: data {} x pipeline {} x tensor {}, {} per stage, ZeRO {}\n", mesh.data,
             mesh.pipeline, mesh.tensor,
             job.parallel.chunks == 1 ? "1 chunk" : fmt::format("{} chunks", job.parallel.chunks),
             job.parallel.zero);
}

struct Nodes {
  int64_t number = 1;
  int64_t most_ranks = 1;  // on one node
};
// Counts the nodes of the ranks. In a planned world each rank has a node of its own.
Nodes count_nodes(const TrainCommand& command, const ProcessGroup& processes) {
  if (command.world) return {.number = *command.world, .most_ranks = 1};
  std::map<std::string, int64_t> ranks;
  for (const std::string& node : processes.nodes()) ++ranks[node];
  Nodes nodes{.number = std::ssize(ranks), .most_ranks = 1};
  for (const auto& [node, count] : ranks) nodes.most_ranks = std::max(nodes.most_ranks, count);
  return nodes;
}

using StageSizes = std::vector<std::vector<ArenaSize>>;

// Forecasts the memory of data rank 0 of each stage. Ranks with more lanes need more gradient
// buffers, and the first rank never has fewer lanes than average.
Result<StageSizes> forecast_stages(const JobFile& job, const MeshShape& shape,
                                   ComputeDevice& compute) {
  const ModelSource source = gpt_source(job.model, job.batch.head_rows);
  const EngineOptions options = make_engine_options(job);
  StageSizes stages;
  for (int stage = 0; stage < shape.pipeline; ++stage) {
    Mesh mesh = Mesh::planned(shape, rank_of({.pipeline = stage}, shape));
    LEASEHOLD_ASSIGN_OR_RETURN(
        auto sizes, Engine::forecast(*compute.device, *compute.kernels, mesh, source, options));
    stages.push_back(std::move(sizes));
  }
  return stages;
}

// Prints the shared memory that snapshots need on a node with the most ranks.
void print_snapshots(const JobFile& job, const MeshShape& shape, const Nodes& nodes) {
  if (job.checkpoint.snapshot == "off") return;
  const int64_t share = snapshot_share(num_parameters(job.model), shape.num_ranks());
  const NodeShares shares{.own_bytes = nodes.most_ranks * share,
                          .copies_bytes = nodes.number > 1 ? nodes.most_ranks * share : 0};
  const SlotCounts slots = slots_of(SlotLevel::kFull);
  fmt::print(
      "shared memory for snapshots, on a node with {} of the {} ranks: about {} bytes ({} "
      "snapshots of its ranks{}); a recovery uses {} of them before its first snapshot\n",
      nodes.most_ranks, shape.num_ranks(), bytes_of(SlotLevel::kFull, shares), slots.own,
      nodes.number > 1 ? fmt::format(" and {} of as many other ranks", slots.copies) : "",
      recovery_bytes(shares));
}

// Prints it for the rank with the most communicators.
void print_outside_plan(const JobFile& job, const MeshShape& shape) {
  NcclForecast most;
  for (int stage = 0; stage < shape.pipeline; ++stage) {
    const NcclForecast forecast = forecast_nccl(
        shape, {.pipeline = stage}, static_cast<int>(job.parallel.chunks), job.model.tied);
    if (forecast.lanes >= most.lanes) most = forecast;
  }
  fmt::print("{}\n", outside_plan_line(most));
}

Status print_memory(const JobFile& job, const MeshShape& shape, const ChosenKernelSet& kernel_set,
                    const Nodes& nodes, ComputeDevice& compute) {
  LEASEHOLD_ASSIGN_OR_RETURN(const StageSizes stages, forecast_stages(job, shape, compute));
  print_layout(job, shape);
  if (!kernel_set.kernel_set.empty())
    fmt::print("cpu kernels: {} of OpenBLAS: {}\n", kernel_set.kernel_set, kernel_set.reason);
  fmt::print("memory of a rank, bytes:\n  {:<14}", "");
  for (int stage = 0; stage < shape.pipeline; ++stage)
    fmt::print(" {:>16}", shape.pipeline == 1 ? "" : fmt::format("stage {}", stage));
  fmt::print("\n");
  std::vector<int64_t> totals(stages.size());
  for (size_t i = 0; i < stages.front().size(); ++i) {
    fmt::print("  {:<14}", stages.front()[i].name);
    for (size_t stage = 0; stage < stages.size(); ++stage) {
      fmt::print(" {:>16}", stages[stage][i].bytes);
      totals[stage] += stages[stage][i].bytes;
    }
    fmt::print("\n");
  }
  fmt::print("  {:<14}", "total");
  for (const int64_t total : totals) fmt::print(" {:>16}", total);
  fmt::print("\n");
  if (compute.device->kind() == DeviceKind::kCuda) print_outside_plan(job, shape);
  print_snapshots(job, shape, nodes);
  return ok_status();
}

// Prints a line for each layout, with the memory of its fullest stage.
Status print_forecasts(JobFile job, const std::vector<LayoutOfWorld>& layouts,
                       ComputeDevice& compute) {
  for (const LayoutOfWorld& of : layouts) {
    job.parallel.pipeline = of.layout.pipeline;
    job.parallel.chunks = of.layout.chunks;
    job.parallel.zero = of.layout.zero;
    const auto num_ranks = static_cast<int>(of.world);
    LEASEHOLD_RETURN_IF_ERROR(validate(job, num_ranks).annotated(forecast_argument(of)));
    LEASEHOLD_ASSIGN_OR_RETURN(
        const StageSizes stages,
        forecast_stages(job, make_mesh_shape(job.parallel, num_ranks), compute));
    int64_t most_bytes = 0;
    for (const auto& arenas : stages) {
      most_bytes = std::max(most_bytes, device_bytes(arenas, compute.device->kind()));
    }
    fmt::print("{}\n", forecast_line(of, most_bytes));
  }
  return ok_status();
}

// The things that a rank prepares on its own before the first collective that matters.
struct Prepared {
  JobFile job;
  TokenLoaders data;
  StartInputs inputs;
  Supervision supervision;
};

Result<Prepared> prepare(const TrainCommand& command, int num_ranks) {
  Prepared prepared;
  if (command.world &&
      (!command.dry_run || *command.world < 1 || *command.world > kMostForecastRanks)) {
    return error(Code::kUsage,
                 "--world {}: it must be a number of ranks from 1 to {}, and needs --dry-run",
                 *command.world, kMostForecastRanks);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(prepared.supervision, read_supervision());
  LEASEHOLD_ASSIGN_OR_RETURN(prepared.job,
                             load_job(posix_files(), command.job_path, command.overrides));
  if (command.forecasts.empty()) LEASEHOLD_RETURN_IF_ERROR(validate(prepared.job, num_ranks));
  LEASEHOLD_RETURN_IF_ERROR(
      check_binding(prepared.job.device.threads, count_bound_cores(), count_machine_cores()));
  if (command.stop_after && *command.stop_after < 0) {
    return error(Code::kUsage, "--stop-after {}: it must be 0 or more", *command.stop_after);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(prepared.data, open_data(posix_files(), prepared.job));
  prepared.inputs = {
      .version = command.version, .fork = command.fork, .stop_after = command.stop_after};
  LEASEHOLD_ASSIGN_OR_RETURN(const Digest128 train, prepared.data.train->file().digest());
  prepared.inputs.train_digest = train.to_hex();
  if (prepared.data.validation) {
    LEASEHOLD_ASSIGN_OR_RETURN(const Digest128 validation,
                               prepared.data.validation->file().digest());
    prepared.inputs.validation_digest = validation.to_hex();
  }
  return prepared;
}

// Returns true for forecasts of a world that does not run. They are also made on machines without
// GPUs, and on processors that will not train.
bool is_planned(const TrainCommand& command) { return command.world || !command.forecasts.empty(); }

Result<ComputeDevice> make_compute(const TrainCommand& command, const JobFile& job,
                                   ProcessGroup& processes) {
  if (is_planned(command) && job.device.kind == "cuda") return plan_cuda_device(job.device);
  const NodePlace place{.node = processes.node(),
                        .rank = processes.node_local_rank(),
                        .size = processes.node_local_size()};
  return make_device(job.device, place, job.launch.stuck_timeout_s);
}

}  // namespace

double operation_timeout_s(const TrainCommand& command) {
  const auto job = load_job(posix_files(), command.job_path, command.overrides);
  return job.ok() ? job->launch.stuck_timeout_s : kDefaultTimeoutS;
}

Status run_train(const TrainCommand& command, ProcessGroup& processes, DrainRequest& drain) {
  Communicator& world = processes.world();
  const std::unique_ptr<CpuDevice> host = CpuDevice::create({});
  LEASEHOLD_ASSIGN_OR_RETURN(const std::unique_ptr<Stream> stream, host->create_stream("host"));

  const auto num_ranks = static_cast<int>(command.world.value_or(world.size()));
  Result<Prepared> prepared = prepare(command, num_ranks);
  const double timeout_s = prepared.ok() ? prepared->job.launch.stuck_timeout_s : kDefaultTimeoutS;
  LEASEHOLD_RETURN_IF_ERROR(
      agree(world, *stream, prepared.status(), after_group_timeout(timeout_s)));
  const JobFile& job = prepared->job;
  LEASEHOLD_RETURN_IF_ERROR(compare_start(start_facts(job, prepared->inputs), processes.node(),
                                          world, *stream, timeout_s));
  // A plan computes nothing and needs no kernel set.
  ChosenKernelSet kernel_set;
  if (!is_planned(command)) {
    const bool may_change = command.fork || job.run.identity == "report";
    LEASEHOLD_ASSIGN_OR_RETURN(kernel_set,
                               open_kernel_set(job, may_change, processes, *stream, timeout_s));
  }
  Result<ComputeDevice> made = make_compute(command, job, processes);
  LEASEHOLD_RETURN_IF_ERROR(
      as_refusal(agree(world, *stream, made.status(), after_group_timeout(timeout_s))));
  ComputeDevice& compute = *made;
  if (!is_planned(command)) {
    LEASEHOLD_RETURN_IF_ERROR(
        check_own_gpus(*compute.device, processes, *stream, after_group_timeout(timeout_s)));
  }

  const bool only_forecasts = command.dry_run || !command.forecasts.empty();
  RunProgress run_progress;
  std::unique_ptr<NodeAgent> agent;
  if (!only_forecasts) {
    auto started = start_node_agent(posix_files(), job.run.dir, prepared->supervision, processes,
                                    run_progress, drain);
    LEASEHOLD_RETURN_IF_ERROR(
        agree(world, *stream, started.status(), after_group_timeout(timeout_s)));
    agent = std::move(started).value();
  }
  if (only_forecasts) {
    Status printed;
    if (world.rank() == 0 && command.forecasts.empty()) {
      printed = print_memory(job, make_mesh_shape(job.parallel, num_ranks), kernel_set,
                             count_nodes(command, processes), compute);
    } else if (world.rank() == 0) {
      printed = print_forecasts(job, command.forecasts, compute);
    }
    return agree(world, *stream, printed, after_group_timeout(timeout_s));
  }
  const MeshShape shape = make_mesh_shape(job.parallel, num_ranks);
  const ModelSource source = gpt_source(job.model, job.batch.head_rows);
  const EngineOptions engine_options = make_engine_options(job);
  auto meshed = Mesh::create(world, shape, compute.make_group);
  LEASEHOLD_RETURN_IF_ERROR(
      as_refusal(agree(world, *stream, meshed.status(), after_group_timeout(timeout_s))));
  Mesh& mesh = *meshed;
  const auto digest = [&] {
    return digest_arithmetic(*compute.device, *compute.kernels,
                             make_probe(job.model, job.batch.microbatch, job.parallel.tensor),
                             timeout_s);
  };
  const auto digests = digest();
  LEASEHOLD_RETURN_IF_ERROR(
      as_refusal(agree(world, *stream, digests.status(), after_group_timeout(timeout_s))));
  auto engine = Engine::create(*compute.device, *compute.kernels, mesh, source, engine_options);
  LEASEHOLD_RETURN_IF_ERROR(
      as_refusal(agree(world, *stream, engine.status(), after_group_timeout(timeout_s))));

  TrainerOptions options =
      make_trainer_options(job, prepared->inputs.train_digest, processes.node());
  options.stop_after = command.stop_after;
  options.fork = command.fork;
  options.job.cpu_kernels = kernel_set.kernel_set;
  options.kernel_set_reason = kernel_set.reason;
  options.generation = prepared->supervision.generation;
  options.count_communicators = [&mesh] { return mesh.num_device_communicators(); };
  LEASEHOLD_ASSIGN_OR_RETURN(
      options.ranks, read_failure_domains(posix_files(), job.run.dir, prepared->supervision,
                                          processes, *stream, after_group_timeout(timeout_s)));
  Progress progress(job.run.steps, system_clock(), stderr);
  Trainer trainer(**engine, world, *stream, posix_files(), system_clock(),
                  {*compute.kernels, *digests, digest}, *prepared->data.train,
                  prepared->data.validation.get(), drain, run_progress, std::move(options),
                  progress.observer());
  return trainer.run();
}

}  // namespace leasehold
