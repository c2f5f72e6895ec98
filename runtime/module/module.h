// A differentiable piece of a model. The public forward and backward check their arguments and call
// the virtual functions. A Saved per microbatch, never the module, holds what backward needs, so
// that a pipeline can keep several microbatches under way. Each Saved is made before step 0 and
// reused. A module never sees a device kind or a ZeRO stage. Where tensor parallelism cuts a model,
// models/boundaries alone handles it.
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

// One use of a parameter, with the gradient slot that this module writes.
struct ParameterUse {
  Parameter* parameter = nullptr;
  int slot = 0;
};

// State that a module keeps from the forward to the backward pass of one microbatch. Each module
// derives its own type.
struct Saved {
  virtual ~Saved() = default;
};

// Activations that backward computes again instead of keeping them from forward. The bits are the
// same.
enum class Recompute {
  kNone,
  kAttention,  // queries, keys, values and the output of attention
  kBlock,      // everything inside a block; only its input is kept
};

// Properties common to every microbatch, known before step 0, and the memory for their tensors.
struct PrepareContext {
  Kernels& kernels;
  // Memory that lives from forward to backward, one set per Saved. A recomputed block also passes
  // this arena to its inner modules as scratch. So a module allocates what it keeps before it marks
  // scratch to release it.
  Arena& activations;
  // Memory within one forward or backward pass. Modules release_to() all but what they return.
  Arena& scratch;
  int64_t B = 0;         // sequences per microbatch
  int64_t T = 0;         // positions
  bool training = true;  // false: no backward pass follows
  Recompute recompute = Recompute::kNone;
  // Positions that forward passes can remember (StepContext::memory); T of them are computed at
  // once. Only without training and on one rank. 0: each pass takes whole sequences.
  int64_t remembered = 0;
  // The ranks that compute this microbatch together. Each has its part of the parameters that are
  // cut over the tensor axis. Null: one rank.
  Communicator* tensor = nullptr;
};

// The microbatch that is computed now.
struct Microbatch {
  uint64_t step = 0;  // with index, addresses the random numbers
  uint64_t index = 0;
  Tensor tokens;  // (B, T) i32
  // (B, T) i32. A negative target does not count in the loss. Absent if loss is absent.
  Tensor targets;
  // Output, (1) f64 or absent: the sum of the loss over targets that count, in nats. If backward
  // follows (the Saved was prepared for training and the context trains), backward writes it,
  // otherwise forward. The head makes logits and their gradient in one place, so that one copy of
  // them exists however many microbatches are under way.
  Tensor loss;
  // Output, (rows, V) or absent: the logits of the last `rows` of the B * T positions. For
  // sampling; only where no backward follows.
  Tensor logits;
  int64_t num_targets = 0;  // targets that count; the gradient is that of loss / num_targets
};

class Module;

// The engine's work around a unit: provides its parameters, takes its gradients. The default does
// nothing.
class UnitHooks {
 public:
  virtual ~UnitHooks() = default;
  virtual void before_forward(Module&) {}
  virtual void after_forward(Module&) {}
  virtual void before_backward(Module&) {}
  virtual void after_backward(Module&) {}  // the unit's gradients are enqueued
};

// The keys and values that attention keeps, from one forward pass to the next, of texts that grow.
// The caller raises `first` after each pass.
struct TextMemory {
  int64_t first = 0;  // the position of the microbatch's first token
  // Keys and values by the module's name: (B, positions, G, 2, D), see Kernels::attention_cached.
  std::map<std::string, Tensor> layers;
};

struct StepContext {
  Kernels& kernels;
  Stream& stream;  // compute
  UnitHooks& hooks;
  const Microbatch& microbatch;
  uint64_t seed = 0;                    // of the job; for dropout sites
  bool training = true;                 // dropout is on
  Write gradients = Write::kOverwrite;  // how backward treats the gradients' present content
  // As in PrepareContext. All its ranks get the same microbatch and compute the same loss. The
  // gradient of a parameter that is not cut is this rank's part of a sum over them.
  Communicator* tensor = nullptr;
  // Set if prepare was given remembered positions; otherwise null.
  TextMemory* memory = nullptr;
};

class Module {
 public:
  explicit Module(std::string name) : name_(std::move(name)) {}
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& name() const { return name_; }
  // Returns the parameters that the module and its submodules use, in order of use in forward.
  const std::vector<ParameterUse>& uses() const { return uses_; }

  // Allocates the memory that one microbatch needs from forward to backward.
  virtual std::unique_ptr<Saved> prepare(const PrepareContext& context) const = 0;

  // Computes output = f(input). `input` must stay untouched until backward has run: Saved keeps a
  // view of it. The first module of a model has no input and the last one no output (absent
  // tensors): they read and write the context's microbatch.
  void forward(StepContext& context, Tensor input, Tensor output, Saved& saved);
  // Computes input_gradient = (df/dinput)^T output_gradient, and the gradients of the uses.
  // input_gradient may alias output_gradient if the module's header says so.
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
  // Marks the module as a unit (embedding, block, head). ZeRO materialises parameters by unit, and
  // gradients become ready by unit. Units call the hooks.
  void mark_as_unit() { is_unit_ = true; }

 private:
  std::string name_;
  std::vector<ParameterUse> uses_;
  bool is_unit_ = false;
};

}  // namespace leasehold
