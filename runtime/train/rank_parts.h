// The parts of the model that one rank holds (one, or one per chunk of an interleaved pipeline),
// each with its parameters, gradients, state and module; and how they are computed.
#pragma once

#include <memory>
#include <vector>

#include "runtime/comm/canonical_reduction.h"
#include "runtime/comm/mesh.h"
#include "runtime/train/batch_buffers.h"
#include "runtime/train/gradient_exchange.h"
#include "runtime/train/gradient_norm.h"
#include "runtime/train/gradients.h"
#include "runtime/train/materializer.h"
#include "runtime/train/model_parts.h"
#include "runtime/train/model_state.h"
#include "runtime/train/pipeline_executor.h"
#include "runtime/train/replicated_gradients.h"
#include "runtime/train/step_batch.h"
#include "runtime/train/tied_gradients.h"

namespace leasehold {

struct EngineOptions;
struct ModelSource;

// One part on one rank.
struct RankPart {
  RankPart(const ModelPart& part, const MeshShape& mesh, const EngineOptions& options,
           int zero_stage);

  const ModelPart& plan;
  ParameterTable table;
  FlatLayout layout;
  std::unique_ptr<ModelState> state;
  std::unique_ptr<Gradients> gradients;
  std::unique_ptr<ReplicatedGradients> replicated;
  std::unique_ptr<Module> model;
  std::vector<std::unique_ptr<Saved>> saved;  // by place
};

class RankParts : public StageWork {
 public:
  // Allocates. Local. References must outlive the object. kBadConfig when the layers cannot be
  // dealt to the stages.
  static Result<std::unique_ptr<RankParts>> create(const ModelSource& source,
                                                   const EngineOptions& options, Mesh& mesh,
                                                   Kernels& kernels, const Streams& streams,
                                                   const StepBatch& batch, Arenas& arenas);
  ~RankParts() override;

  const std::vector<RankPart*>& all() const { return all_; }
  // Stages between the first, which looks tokens up, and the last, which has the targets, need
  // none.
  bool reads_tokens() const { return stage_ == 0 || stage_ + 1 == num_stages_; }

  // The gradient norm over the parts of every rank of the world.
  GradientNorm make_norm() const;

  // Enqueues every microbatch of a step forward and backward, and the reduction: reduced shards are
  // complete for what is enqueued on compute later.
  void compute_gradients(int64_t step, const BatchBuffers& batch);
  // Enqueues `count` microbatches forward, for their losses.
  void compute_losses(int64_t count, const BatchBuffers& batch);

  void forward(const PipelineAction& action, int64_t place, Tensor input, Tensor output) override;
  void backward(const PipelineAction& action, int64_t place, Tensor output_gradient,
                Tensor input_gradient) override;

 private:
  class Hooks;
  RankParts(const EngineOptions& options, Mesh& mesh, Kernels& kernels, const Streams& streams,
            const StepBatch& batch);
  Status build(const ModelSource& source, Arenas& arenas);
  void create_gradients(Arenas& arenas);
  Status create_modules(const ModelSource& source, Arenas& arenas);
  std::vector<Materializer::Visit> visits_of(const std::vector<PipelineAction>& actions) const;
  Microbatch microbatch_of(const PipelineAction& action) const;
  StepContext context_of(const PipelineAction& action, const Microbatch& microbatch, Write write);

  const EngineOptions& options_;
  Mesh& mesh_;
  Kernels& kernels_;
  const Streams& streams_;
  const StepBatch& step_batch_;
  int stage_;
  int num_stages_;
  std::unique_ptr<Communicator> data_;  // the axis, measured
  Communicator* tensor_;                // null: one rank
  int zero_stage_;

  std::vector<ModelPart> plans_;  // of the whole model
  std::vector<std::unique_ptr<RankPart>> parts_;
  std::vector<RankPart*> all_;
  std::unique_ptr<CanonicalReduction> canonical_;
  std::unique_ptr<GradientExchange> exchange_;
  std::unique_ptr<Materializer> materializer_;
  std::unique_ptr<TiedGradients> tied_;
  std::unique_ptr<PipelineExecutor> executor_;
  std::vector<std::unique_ptr<Hooks>> hooks_;  // by part

  std::vector<PipelineAction> actions_;  // of a step
  std::vector<Materializer::Visit> visits_;
  std::vector<Tensor> reduced_;  // by part

  // Of the step or evaluation under way.
  const BatchBuffers* batch_ = nullptr;
  int64_t step_ = 0;
  bool training_ = true;
};

}  // namespace leasehold
