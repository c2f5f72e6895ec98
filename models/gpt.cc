// N rows of this rank's residual stream, C channels.
#include "models/gpt.h"

#include <algorithm>
#include <string>
#include <vector>

#include "models/block.h"
#include "models/boundaries.h"
#include "models/embedding.h"
#include "models/head.h"

namespace leasehold {

namespace {

struct GptSaved : Saved {
  std::vector<std::unique_ptr<Saved>> units;
  std::vector<Tensor> outputs;  // (N, C), of every unit but the last
  // (N, C), scratch: the gradient of the residual stream. Absent if the caller provides the memory.
  Tensor gradient;
};

class Gpt : public Module {
 public:
  Gpt(const ModelConfig& config, ParameterTable& parameters, int64_t begin, int64_t end,
      int64_t head_rows)
      : Module("gpt"), C_(config.hidden), first_(begin == 0), last_(end == num_units(config)) {
    for (int64_t i = begin; i < end; ++i) {
      if (i == 0) {
        units_.push_back(std::make_unique<Embedding>(config, parameters, "embedding"));
      } else if (i == num_units(config) - 1) {
        units_.push_back(std::make_unique<Head>(config, parameters, "head", head_rows));
      } else {
        units_.push_back(
            std::make_unique<Block>(config, parameters, "blocks." + std::to_string(i - 1)));
      }
      add_uses_of(*units_.back());
    }
  }

  // Prepares the units. Without a backward, outputs alternate between two buffers: a unit reads one
  // and writes the other.
  std::unique_ptr<Saved> prepare(const PrepareContext& context) const override {
    check_cut(num_tensor_ranks(context.tensor));
    auto saved = std::make_unique<GptSaved>();
    const DType dtype = context.kernels.dtype();
    const Shape shape{shard_rows(context), C_};
    const int64_t mark = context.scratch.mark();
    for (size_t i = 0; i + 1 < units_.size(); ++i) {
      if (!context.training && i >= 2) {
        saved->outputs.push_back(saved->outputs[i - 2]);
      } else {
        saved->outputs.push_back(
            (context.training ? context.activations : context.scratch).allocate(dtype, shape));
      }
    }
    if (context.training && first_) saved->gradient = context.scratch.allocate(dtype, shape);
    for (const auto& unit : units_) saved->units.push_back(unit->prepare(context));
    context.scratch.release_to(mark);
    return saved;
  }

 protected:
  void do_forward(StepContext& context, Tensor input, Tensor output, Saved& base) override {
    auto& saved = static_cast<GptSaved&>(base);
    LEASEHOLD_CHECK(
        input.present() != first_ && output.present() != last_,
        "a stage has an input unless it is the first, and an output unless it is the last");
    for (size_t i = 0; i < units_.size(); ++i) {
      units_[i]->forward(context, i == 0 ? input : saved.outputs[i - 1],
                         i + 1 == units_.size() ? output : saved.outputs[i], *saved.units[i]);
    }
  }

  // Keeps the gradient of the residual stream in the place where the stage's last unit puts it.
  void do_backward(StepContext& context, Tensor output_gradient, Tensor input_gradient,
                   Saved& base) override {
    auto& saved = static_cast<GptSaved&>(base);
    LEASEHOLD_CHECK(
        input_gradient.present() != first_ && output_gradient.present() != last_,
        "a stage has an input unless it is the first, and an output unless it is the last");
    const Tensor gradient = first_ ? saved.gradient : input_gradient;
    for (size_t i = units_.size(); i-- > 0;) {
      units_[i]->backward(context, i + 1 == units_.size() ? output_gradient : gradient,
                          first_ && i == 0 ? Tensor{} : gradient, *saved.units[i]);
    }
  }

 private:
  // Checks that the parameters were cut for the number of ranks that compute.
  void check_cut(int64_t num_ranks) const {
    for (const ParameterUse& use : uses()) {
      const ParameterSpec& spec = use.parameter->spec();
      const auto& placement = spec.placement;
      const bool is_cut =
          std::find(placement.begin(), placement.end(), Axis::kTensor) != placement.end();
      LEASEHOLD_CHECK(use.parameter->local_shape().num_elements() * (is_cut ? num_ranks : 1) ==
                          spec.shape.num_elements(),
                      "{}: {} of {} is here, but the tensor axis has {} ranks", spec.name,
                      use.parameter->local_shape().to_string(), spec.shape.to_string(), num_ranks);
    }
  }

  int64_t C_;
  bool first_;
  bool last_;
  std::vector<std::unique_ptr<Module>> units_;
};

}  // namespace

Result<std::unique_ptr<Module>> create_gpt(const ModelConfig& config, ParameterTable& parameters,
                                           int64_t head_rows) {
  return create_gpt_stage(config, parameters, 0, num_units(config), head_rows);
}

Result<std::unique_ptr<Module>> create_gpt_stage(const ModelConfig& config,
                                                 ParameterTable& parameters, int64_t begin,
                                                 int64_t end, int64_t head_rows) {
  LEASEHOLD_ASSIGN_OR_RETURN(const ModelConfig complete, complete_model_config(config));
  if (complete != config)
    return error(Code::kBadConfig, "a model was asked for whose configuration is not complete");
  LEASEHOLD_CHECK(0 <= begin && begin < end && end <= num_units(config), "units {} to {} of {}",
                  begin, end, num_units(config));
  return std::unique_ptr<Module>(new Gpt(config, parameters, begin, end, head_rows));
}

ModelSource gpt_source(const ModelConfig& config, int64_t head_rows) {
  return {.parameters = describe_parameters(config),
          .units = describe_units(config),
          .width = config.hidden,
          .create = [=](ParameterTable& parameters, int64_t begin, int64_t end) {
            return create_gpt_stage(config, parameters, begin, end, head_rows);
          }};
}

}  // namespace leasehold
