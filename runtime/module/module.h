// A differentiable piece of a model. The public forward and backward check and call the virtual
// part; what backward needs lives in a Saved per microbatch, made before step 0 and used again and
// again, never in the module, so that a pipeline can keep several microbatches under way. A module
// never sees a device kind or a ZeRO stage; where tensor parallelism cuts a model,
// models/boundaries alone does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/module/parameter.h"
#include "runtime/tensor/arena.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

class Communicator;

// One use of a parameter: which gradient slot this module writes.
struct ParameterUse {
  Parameter* parameter = nullptr;
  int slot = 0;
};

// What a module keeps between forward and backward of one microbatch. Derived per module.
struct Saved {
  virtual ~Saved() = default;
};

// What backward computes again instead of keeping it from forward. The bits are the same.
enum class Recompute {
  kNone,
  kAttention,  // queries, keys, values and what attention makes of them
  kBlock,      // everything inside a block: it keeps its input alone
};

// What is known of every microbatch before step 0, and where its tensors come from.
struct PrepareContext {
  Kernels& kernels;
  // Lives from forward to backward: one set per Saved. A block that is recomputed gives its inside
  // the scratch here too, so what is kept is allocated before a module's first mark of scratch that
  // it releases to.
  Arena& activations;
  Arena& scratch;  // within one forward or backward: modules release_to what they do not return
  int64_t B = 0;   // sequences per microbatch
  int64_t T = 0;   // positions
  bool training = true;  // false: no backward will follow
  Recompute recompute = Recompute::kNone;
  // Positions that forward passes can remember (StepContext::memory), T of them computed at once.
  // Not with training, and on one rank. 0: each pass is of whole sequences.
  int64_t remembered = 0;
  // The ranks that compute this microbatch together, each with its part of the parameters that are
  // cut over the tensor axis. Null: one rank.
  Communicator* tensor = nullptr;
};

// The microbatch that is being computed.
struct Microbatch {
  uint64_t step = 0;  // addresses the random numbers, with index
  uint64_t index = 0;
  Tensor tokens;   // (B, T) i32
  Tensor targets;  // (B, T) i32; < 0 is left out of the loss; absent when the loss is
  // (1) f64 or absent, out: sum of the loss over targets that count, in nats. Where a backward
  // follows (the Saved was prepared for training and the context trains) backward writes it, else
  // forward: the head makes logits and their gradient in one place, so that one copy of them exists
  // however many microbatches are under way.
  Tensor loss;
  // (rows, V) or absent, out: of the last `rows` of the B * T positions. Asked for by sampling;
  // only where no backward follows.
  Tensor logits;
  int64_t num_targets = 0;  // targets that count; the gradient is that of loss / num_targets
};

class Module;

// What an engine does around a unit: bring its parameters, take its gradients. The default does
// nothing.
class UnitHooks {
 public:
  virtual ~UnitHooks() = default;
  virtual void before_forward(Module&) {}
  virtual void after_forward(Module&) {}
  virtual void before_backward(Module&) {}
  virtual void after_backward(Module&) {}  // the gradients of the unit's uses are enqueued
};

// The keys and values that attention keeps of texts that grow, from one forward pass to the next.
// The caller raises `first` after each pass.
struct TextMemory {
  int64_t first = 0;  // the position of the microbatch's first token
  // By the module's name: keys and values (B, positions, G, 2, D), Kernels::attention_cached.
  std::map<std::string, Tensor> layers;
};

struct StepContext {
  Kernels& kernels;
  Stream& stream;  // compute
  UnitHooks& hooks;
  const Microbatch& microbatch;
  uint64_t seed = 0;                    // of the job, for dropout sites
  bool training = true;                 // dropout is on
  Write gradients = Write::kOverwrite;  // what backward does to the gradients' present content
  // As in PrepareContext. All its ranks are given the same microbatch and make the same loss; a
  // gradient of a parameter that is not cut is this rank's part of a sum over them.
  Communicator* tensor = nullptr;
  // Set when prepare was told of remembered positions; else null.
  TextMemory* memory = nullptr;
};

class Module {
 public:
  explicit Module(std::string name) : name_(std::move(name)) {}
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& name() const { return name_; }
  // The module's uses of parameters, its submodules' included, in order of use in forward.
  const std::vector<ParameterUse>& uses() const { return uses_; }

  // Allocates what one microbatch needs from forward to backward.
  virtual std::unique_ptr<Saved> prepare(const PrepareContext& context) const = 0;

  // output = f(input). `input` must stay untouched until backward ran: Saved keeps a view of it.
  // The first module of a model has no input, the last one no output (absent tensors): they read
  // and write the context's microbatch.
  void forward(StepContext& context, Tensor input, Tensor output, Saved& saved);
  // input_gradient = (df/dinput)^T output_gradient, and the gradients of the uses. input_gradient
  // may alias output_gradient where the module's header says so.
  void backward(StepContext& context, Tensor output_gradient, Tensor input_gradient, Saved& saved);

 protected:
  virtual void do_forward(StepContext& context, Tensor input, Tensor output, Saved& saved) = 0;
  virtual void do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                           Saved& saved) = 0;

  void add_use(Parameter& parameter, int slot = 0) { uses_.push_back({&parameter, slot}); }
  void add_uses(const std::vector<Parameter*>& parameters) {
    for (Parameter* parameter : parameters) add_use(*parameter);
  }
  void add_uses_of(const Module& submodule);
  // Units (embedding, block, head) are what ZeRO materialises and what gradients become ready by;
  // they call the hooks.
  void mark_as_unit() { is_unit_ = true; }

 private:
  std::string name_;
  std::vector<ParameterUse> uses_;
  bool is_unit_ = false;
};

}  // namespace leasehold
