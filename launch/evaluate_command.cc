#include "launch/evaluate_command.h"

#include <cstdio>

#include <nlohmann/json.hpp>

#include "collectives/self.h"
#include "launch/checkpoint_model.h"
#include "runtime/train/evaluator.h"

namespace leasehold {

Status run_evaluate(const EvaluateCommand& command) {
  FileSystem& files = posix_files();
  LEASEHOLD_ASSIGN_OR_RETURN(TokenFile file, TokenFile::open(files, command.data));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const auto model,
      CheckpointModel::load(files, command.checkpoint, {command.device, command.num_threads}));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const WindowLoader loader,
      WindowLoader::create(std::move(file), model->config().sequence, model->config().vocab, 0));
  LEASEHOLD_RETURN_IF_ERROR(model->prepare(command.batch));

  Arenas measured = Arenas::measuring(model->device().kind());
  const std::unique_ptr<CpuDevice> host = CpuDevice::create({});
  LEASEHOLD_ASSIGN_OR_RETURN(const std::unique_ptr<Stream> host_stream,
                             host->create_stream("host"));
  const auto self = create_self_communicator("self");
  LEASEHOLD_ASSIGN_OR_RETURN(Mesh mesh, Mesh::create(*self, {}));
  const auto compute = [&](int64_t count, const BatchBuffers& batch) {
    UnitHooks no_hooks;
    for (int64_t i = 0; i < count; ++i) {
      const Microbatch microbatch = batch.microbatch(i);
      StepContext context{.kernels = model->kernels(),
                          .stream = model->stream(),
                          .hooks = no_hooks,
                          .microbatch = microbatch,
                          .training = false};
      model->model().forward(context, {}, {}, model->saved());
    }
  };
  const auto make = [&](Arenas& arenas) {
    return Evaluator(compute, mesh, command.batch, model->config().sequence, model->stream(),
                     *host_stream, arenas);
  };
  make(measured);
  LEASEHOLD_ASSIGN_OR_RETURN(Arenas arenas, Arenas::create(model->device(), measured));
  Evaluator evaluator = make(arenas);
  LEASEHOLD_ASSIGN_OR_RETURN(const Evaluation evaluation,
                             evaluator.evaluate(loader, 3600, [] { return false; }));
  const nlohmann::ordered_json result = {{"checkpoint", command.checkpoint},
                                         {"step", model->info().step},
                                         {"data", command.data},
                                         {"loss", evaluation.mean_loss},
                                         {"tokens", evaluation.num_targets},
                                         {"arithmetic", model->kernels().arithmetic_class()}};
  fmt::print("{}\n", result.dump());
  return ok_status();
}

}  // namespace leasehold
