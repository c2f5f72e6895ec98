// One rank's part in training a model: memory, one step, validation, state. It knows no files: the
// trainer feeds it data and stores its state. Every call that says "collective" must be made by all
// ranks of the mesh in the same order.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/checkpoint/state.h"
#include "runtime/comm/communication_meter.h"
#include "runtime/comm/mesh.h"
#include "runtime/data/loader.h"
#include "runtime/module/model_source.h"
#include "runtime/train/evaluator.h"
#include "runtime/train/gradients.h"
#include "runtime/train/optimizer.h"
#include "runtime/train/pipeline_schedule.h"

namespace leasehold {

class AgreedAlgorithms;

struct EngineOptions {
  int64_t B = 1;  // sequences per microbatch
  int64_t T = 1;  // positions per sequence
  BatchOptions batch;
  int64_t steps = 1;  // of the whole run, for the schedule
  uint64_t seed = 0;
  OptimizerOptions optimizer;
  int zero_stage = 0;  // 0 to 3
  PipelineSchedule schedule = PipelineSchedule::kOneForwardOneBackward;
  int num_chunks = 1;  // per pipeline stage
  Reduction reduction = Reduction::kCanonical;
  Recompute recompute = Recompute::kNone;
  double timeout_s = 300;                    // for every wait
  int64_t bucket_bytes = int64_t{32} << 20;  // of gradients exchanged at a time
  // Computes a microbatch on memory of its own and without other ranks before the engine is made:
  // what libraries choose and load when they first meet a product is there before anything waits
  // for a peer.
  bool rehearse = false;
};

// What a rank says to the others along with a step's scalars; each hears the minimum over ranks.
using Votes = std::array<double, 14>;

struct StepRequest {
  bool stop_requested = false;
  Votes votes{};
  // A loss or gradient norm that is not finite: true leaves weights and moments as they are
  // (StepResult::skipped), false fails the step.
  bool skip_nonfinite = false;
  // Steps before this one that were skipped: corrections of bias count updates, not steps.
  int64_t num_skipped = 0;
  // Where a rank's kernels chose an algorithm in the step, the ranks settle here before the state
  // changes, and compute the step again where one was replaced. Null: each has its own.
  AgreedAlgorithms* algorithms = nullptr;
  // Called before the optimizer changes the state; a failure ends the step as kUnavailable does.
  std::function<Status()> before_update;
};

struct StepResult {
  double loss = 0;           // mean over the global batch, nats per token
  double gradient_norm = 0;  // before clipping
  double lr = 0;
  int64_t num_tokens = 0;       // of the global batch
  bool stop_requested = false;  // by any rank
  bool skipped = false;         // loss or norm are not finite, and nothing was updated
  Votes votes{};                // minimum over ranks
  // This rank's, over the data axis: gradients to their owners, weights to those who compute.
  Communication communication;
};

struct ArenaSize {
  std::string name;
  int64_t bytes = 0;
  MemoryKind kind = MemoryKind::kDevice;
};

// What of a rank's memory the device has to hold: all of it where device and host are one, else
// what is not pinned host memory.
int64_t device_bytes(const std::vector<ArenaSize>& arenas, DeviceKind kind);

class Engine {
 public:
  // Allocates everything; no memory is allocated inside a step. Local, except that every rank must
  // call it. References must outlive the engine. kBadConfig when the batch does not fit the mesh,
  // kResourceExhausted when memory does not suffice.
  static Result<std::unique_ptr<Engine>> create(Device& device, Kernels& kernels, Mesh& mesh,
                                                const ModelSource& source,
                                                const EngineOptions& options);
  // What create would allocate on this rank, without allocating it.
  static Result<std::vector<ArenaSize>> forecast(Device& device, Kernels& kernels, Mesh& mesh,
                                                 const ModelSource& source,
                                                 const EngineOptions& options);
  virtual ~Engine() = default;

  // Collective. Weights drawn from the seed, moments zero.
  virtual Status initialize() = 0;
  // Collective, after the needed slices were loaded.
  virtual Status finish_restore() = 0;
  // The state that this rank stores, and the state that it must load: views of host memory. On a
  // CPU that is the state itself; else it is a copy, which begin_capture brings up to date and
  // finish_restore takes up.
  virtual std::vector<StateSlice> owned_slices() const = 0;
  virtual std::vector<StateSlice> needed_slices() const = 0;
  virtual bool state_is_copied() const = 0;
  // Enqueues the copy of the state as the calls before left it, beside what is computed next; a
  // step changes the state only when it is done. Only after wait_captured returned may the slices
  // be read, and they stay as they are until the next begin_capture. Nothing where the slices are
  // the state itself. begin_capture is for the thread that makes steps, wait_captured for any.
  virtual void begin_capture() = 0;
  virtual Status wait_captured() const = 0;
  // Global shapes by name, of the whole model.
  virtual std::map<std::string, Shape> parameter_shapes() const = 0;

  // Collective. Computes step `step` (0-based) on samples [step * batch, (step + 1) * batch) of the
  // loader. The ranks agree on the request's `stop_requested` and votes. When this returns an
  // error, the state is as it was before the step unless the error is kUnavailable (a peer or the
  // device was lost, the engine cannot go on).
  virtual Result<StepResult> run_step(int64_t step, const WindowLoader& loader,
                                      const StepRequest& request) = 0;

  // True after run_step failed on all ranks with the same error and the state as it was before the
  // step (what is not finite, tokens that cannot be read): together they may save it.
  virtual bool failed_alike() const = 0;

  // Collective. Mean loss over the windows of a file.
  virtual Result<Evaluation> evaluate(const WindowLoader& loader,
                                      const std::function<bool()>& stop_requested) = 0;

  virtual std::vector<ArenaSize> memory() const = 0;
};

}  // namespace leasehold
