#include "launch/train_command.h"

#include <cstdio>

#include "launch/compose.h"
#include "launch/progress.h"
#include "launch/supervision.h"
#include "models/gpt.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr double kDefaultTimeoutS = 300;  // where no job says otherwise

// Sizes of one rank. Ranks with more lanes than others need more gradient buffers; rank 0 never has
// fewer than average.
void print_forecast(const JobFile& job, int num_ranks, const std::vector<ArenaSize>& sizes) {
  fmt::print("model: {} family, {} parameters, {} floating point operations per token\n",
             job.model.family, num_parameters(job.model), flops_per_token(job.model));
  fmt::print(
      "batch: {} sequences of {} tokens = {} microbatches of {} in {} lanes, over {} ranks\n",
      job.batch.sequences, job.model.sequence, job.batch.num_microbatches(), job.batch.microbatch,
      job.batch.lanes, num_ranks);
  fmt::print("memory of rank 0:\n");
  int64_t total = 0;
  for (const ArenaSize& size : sizes) {
    fmt::print("  {:<14} {:>16} bytes\n", size.name, size.bytes);
    total += size.bytes;
  }
  fmt::print("  {:<14} {:>16} bytes\n", "total", total);
}

// What every rank finds out for itself before the first collective that matters.
struct Prepared {
  JobFile job;
  TokenLoaders data;
  ComputeDevice compute;
  std::string data_digest;
  Supervision supervision;
};

Result<Prepared> prepare(const TrainCommand& command, int num_ranks) {
  Prepared prepared;
  LEASEHOLD_ASSIGN_OR_RETURN(prepared.supervision, read_supervision());
  LEASEHOLD_ASSIGN_OR_RETURN(prepared.job,
                             load_job(posix_files(), command.job_path, command.overrides));
  LEASEHOLD_RETURN_IF_ERROR(check_supported(prepared.job));
  LEASEHOLD_RETURN_IF_ERROR(validate(prepared.job, num_ranks));
  LEASEHOLD_RETURN_IF_ERROR(
      check_binding(prepared.job.device.threads, count_bound_cores(), count_machine_cores()));
  if (command.stop_after && *command.stop_after < 0) {
    return error(Code::kUsage, "--stop-after {}: a step of 0 or more is needed",
                 *command.stop_after);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(prepared.data, open_data(posix_files(), prepared.job));
  prepared.data_digest = prepared.data.train->file().digest().to_hex();
  prepared.compute = make_device(
      prepared.job.device, after_group_timeout(prepared.job.launch.stuck_timeout_s).remaining_s());
  return prepared;
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

  Result<Prepared> prepared = prepare(command, world.size());
  const double timeout_s = prepared.ok() ? prepared->job.launch.stuck_timeout_s : kDefaultTimeoutS;
  LEASEHOLD_RETURN_IF_ERROR(
      agree(world, *stream, prepared.status(), after_group_timeout(timeout_s)));
  const JobFile& job = prepared->job;
  ComputeDevice& compute = prepared->compute;

  RunProgress run_progress;
  std::unique_ptr<NodeAgent> agent;
  if (!command.dry_run) {
    auto started = start_node_agent(prepared->supervision, processes, run_progress, drain);
    LEASEHOLD_RETURN_IF_ERROR(
        agree(world, *stream, started.status(), after_group_timeout(timeout_s)));
    agent = std::move(started).value();
  }
  LEASEHOLD_ASSIGN_OR_RETURN(Mesh mesh, Mesh::create(world, {.data = world.size()}));
  const ModelSource source = gpt_source(job.model);
  const EngineOptions engine_options = make_engine_options(job);
  if (command.dry_run) {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto sizes, Engine::forecast(*compute.device, *compute.kernels,
                                                                  mesh, source, engine_options));
    if (world.rank() == 0) print_forecast(job, world.size(), sizes);
    return barrier(world, *stream, after_group_timeout(timeout_s));
  }
  const auto arithmetic = digest_arithmetic(*compute.device, *compute.kernels,
                                            make_probe(job.model, job.batch.microbatch), timeout_s);
  LEASEHOLD_RETURN_IF_ERROR(
      agree(world, *stream, arithmetic.status(), after_group_timeout(timeout_s)));
  auto engine = Engine::create(*compute.device, *compute.kernels, mesh, source, engine_options);
  LEASEHOLD_RETURN_IF_ERROR(agree(world, *stream, engine.status(), after_group_timeout(timeout_s)));

  TrainerOptions options = make_trainer_options(job, prepared->data_digest, processes.node());
  options.stop_after = command.stop_after;
  options.fork = command.fork;
  options.generation = prepared->supervision.generation;
  LEASEHOLD_ASSIGN_OR_RETURN(
      options.ranks, read_failure_domains(posix_files(), job.run.dir, prepared->supervision,
                                          processes, *stream, after_group_timeout(timeout_s)));
  Progress progress(job.run.steps, system_clock(), stderr);
  Trainer trainer(**engine, world, *stream, posix_files(), system_clock(), *arithmetic,
                  *prepared->data.train, prepared->data.validation.get(), drain, run_progress,
                  std::move(options), progress.observer());
  return trainer.run();
}

}  // namespace leasehold
