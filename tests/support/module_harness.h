// One module in memory of its own: parameters with values and gradients, activations, scratch and a
// stream, without the training engine. What an engine does to a module, a test does here by hand.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/module/module.h"

namespace leasehold {

// Elements as double, whatever the floating dtype.
double element(Tensor tensor, int64_t i);
void set_element(Tensor tensor, int64_t i, double value);
std::vector<double> elements(Tensor tensor);

// Element i of what tensor rank `rank` holds of a parameter, as an element of the whole.
int64_t element_of_whole(const Parameter& parameter, int64_t rank, int64_t i);

class ModuleHarness {
 public:
  using Factory = std::function<std::unique_ptr<Module>(ParameterTable&)>;

  // `device`, `kernels` and `tensor_axis` must outlive the harness. Values are zero until they are
  // filled. `tensor_axis`: its ranks compute together, null for one; all do as this one does, with
  // the same seeds.
  ModuleHarness(Device& device, Kernels& kernels, const std::vector<ParameterSpec>& specs,
                const Factory& create, int64_t B, int64_t T, Recompute recompute = Recompute::kNone,
                Communicator* tensor_axis = nullptr);

  ParameterTable& parameters() { return table_; }
  Module& module() { return *module_; }
  Stream& stream() { return *stream_; }
  Kernels& kernels() { return kernels_; }
  int64_t activation_bytes() const { return activations_.peak_bytes(); }
  int64_t scratch_bytes() const { return scratch_.peak_bytes(); }

  // Every value from a normal distribution, gains around 1: far from the special points of an
  // initialisation.
  void randomize(uint64_t seed, double standard_deviation);
  // As the specs' initialisers say.
  void initialize(uint64_t seed);
  // Zero-filled memory that lives as long as the harness.
  Tensor tensor(DType dtype, const Shape& shape);
  Tensor random_tensor(const Shape& shape, uint64_t seed);  // normal, of the kernels' dtype
  // (B, T) i32 drawn below `vocab`; microbatch.tokens and .targets point to such tensors, the loss
  // to its place.
  void random_microbatch(int64_t vocab, uint64_t seed);

  // What the calls below compute on, and how. Dropout draws with (seed, microbatch.step,
  // microbatch.index).
  Microbatch microbatch;
  uint64_t seed = 1;
  bool training = true;
  Write gradients = Write::kOverwrite;
  UnitHooks* hooks = nullptr;  // none, if null
  int64_t tensor_rank() const;

  // Forward alone, in memory prepared without a backward.
  void forward(Tensor input, Tensor output);
  // Forward and backward.
  void forward_backward(Tensor input, Tensor output, Tensor output_gradient, Tensor input_gradient);
  // The microbatch's loss per target, for a module that makes a loss.
  double mean_loss();

 private:
  PrepareContext prepare_context(bool with_backward);
  StepContext context();
  void synchronize();

  Device& device_;
  Kernels& kernels_;
  Recompute recompute_;
  Communicator* tensor_;
  ParameterTable table_;
  UnitHooks no_hooks_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Module> module_;
  Arena activations_;
  Arena scratch_;
  std::unique_ptr<Saved> saved_;
  std::unique_ptr<Saved> saved_without_backward_;
  std::vector<std::unique_ptr<Memory>> memory_;
  Shape batch_shape_;
};

}  // namespace leasehold
