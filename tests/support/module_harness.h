// One module with its own memory: parameters with values and gradients, activations, scratch and a
// stream, without the training engine. A test does by hand what an engine does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/module/module.h"

namespace leasehold {

// Read and write elements as double, whatever the floating dtype.
double element(Tensor tensor, int64_t i);
void set_element(Tensor tensor, int64_t i, double value);
std::vector<double> elements(Tensor tensor);

// Returns the element of the whole parameter that is element i of tensor rank `rank`.
int64_t element_of_whole(const Parameter& parameter, int64_t rank, int64_t i);

class ModuleHarness {
 public:
  using Factory = std::function<std::unique_ptr<Module>(ParameterTable&)>;

  // Makes the module. `device`, `kernels` and `tensor_axis` must outlive the harness. Values are
  // zero until they are filled. The ranks of `tensor_axis` compute together and must make the same
  // calls with the same seeds; null: one rank.
  ModuleHarness(Device& device, Kernels& kernels, const std::vector<ParameterSpec>& specs,
                const Factory& create, int64_t B, int64_t T, Recompute recompute = Recompute::kNone,
                Communicator* tensor_axis = nullptr);

  ParameterTable& parameters() { return table_; }
  Module& module() { return *module_; }
  Stream& stream() { return *stream_; }
  Kernels& kernels() { return kernels_; }
  int64_t activation_bytes() const { return activations_.peak_bytes(); }
  int64_t scratch_bytes() const { return scratch_.peak_bytes(); }

  // Draws every value from a normal distribution, gains around 1: far from the special points of an
  // initialisation.
  void randomize(uint64_t seed, double standard_deviation);
  // Sets the values that the specs' initialisers give.
  void initialize(uint64_t seed);
  // Returns zero-filled memory that lives as long as the harness.
  Tensor tensor(DType dtype, const Shape& shape);
  Tensor random_tensor(const Shape& shape, uint64_t seed);  // normal, of the kernels' dtype
  // Fills (B, T) i32 tensors with ids below `vocab`. Points microbatch.tokens and .targets to them,
  // and the loss to its place.
  void random_microbatch(int64_t vocab, uint64_t seed);

  // The input and options of the calls below. Dropout draws with (seed, microbatch.step,
  // microbatch.index).
  Microbatch microbatch;
  uint64_t seed = 1;
  bool training = true;
  Write gradients = Write::kOverwrite;
  UnitHooks* hooks = nullptr;  // null: none
  int64_t tensor_rank() const;

  // Runs forward alone, in memory prepared without a backward.
  void forward(Tensor input, Tensor output);
  // Runs forward and backward.
  void forward_backward(Tensor input, Tensor output, Tensor output_gradient, Tensor input_gradient);
  // Returns the microbatch's loss per target, for a module that computes a loss.
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
