#include "launch/evaluate_command.h"

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "collectives/self.h"
#include "launch/checkpoint_model.h"
#include "runtime/train/evaluator.h"

namespace leasehold {

Result<int64_t> evaluation_sequence(int64_t asked, int64_t positions, int64_t num_tokens,
                                    const std::string& file) {
  if (asked > positions) {
    return error(Code::kUsage, "--sequence {}: the model has {} positions; write that or less",
                 asked, positions);
  }
  const int64_t most = num_tokens - 1;  // each token needs the one after it
  if (most < std::max<int64_t>(1, asked)) {
    return error(Code::kBadData,
                 "{}: {} tokens are too few for one window of {} and the token after it; use a "
                 "larger file{}",
                 file, num_tokens, std::max<int64_t>(1, asked),
                 asked > 1 ? ", or a smaller --sequence" : "");
  }
  return asked > 0 ? asked : std::min(positions, most);
}

Status run_evaluate(const EvaluateCommand& command) {
  FileSystem& files = posix_files();
  LEASEHOLD_ASSIGN_OR_RETURN(TokenFile file, TokenFile::open(files, command.data));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const auto model,
      CheckpointModel::load(files, command.checkpoint, {command.device, command.num_threads}));
  const int64_t positions = model->config().sequence;
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t T, evaluation_sequence(command.sequence, positions,
                                                                  file.num_tokens(), command.data));
  if (command.sequence == 0 && T < positions) {
    fmt::print(stderr,
               "leasehold-train: {} has {} tokens: evaluating windows of {} instead of the model's "
               "{}\n",
               command.data, file.num_tokens(), T, positions);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const WindowLoader loader,
                             WindowLoader::create(std::move(file), T, model->config().vocab, 0));
  const int64_t B = std::min(command.batch, loader.num_windows());
  LEASEHOLD_RETURN_IF_ERROR(model->prepare(B, T));

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
    return Evaluator(compute, mesh, B, T, model->stream(), *host_stream, arenas);
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
                                         {"sequence", T},
                                         {"arithmetic", model->kernels().arithmetic_class()}};
  fmt::print("{}\n", result.dump());
  return ok_status();
}

}  // namespace leasehold
