#include "launch/checkpoint_model.h"

#include <algorithm>

#include "launch/kernel_sets.h"
#include "models/gpt.h"

namespace leasehold {

namespace {

constexpr double kTimeoutS = 300;

// Makes an arena of the right size: runs `allocate` on a measuring arena, then on the real one.
template <typename Allocate>
Result<std::unique_ptr<Arena>> make_arena(Device& device, const std::string& name, MemoryKind kind,
                                          const Allocate& allocate) {
  Arena measured = Arena::measuring(name);
  allocate(measured);
  LEASEHOLD_ASSIGN_OR_RETURN(Arena arena, Arena::create(device, name, measured.peak_bytes(), kind));
  auto owned = std::make_unique<Arena>(std::move(arena));
  allocate(*owned);
  return owned;
}

}  // namespace

Result<std::unique_ptr<CheckpointModel>> CheckpointModel::load(FileSystem& files,
                                                               const std::string& path,
                                                               const ModelDevice& device) {
  if (device.kind == "cuda" && device.num_threads != 1) {
    return error(Code::kUsage, "--threads {} has no effect with --device cuda: leave it out",
                 device.num_threads);
  }
  std::unique_ptr<CheckpointModel> loaded(new CheckpointModel());
  LEASEHOLD_ASSIGN_OR_RETURN(loaded->handle_, open_newest_checkpoint(files, path));
  DeviceSection section;
  section.kind = device.kind;
  section.threads = device.num_threads;
  const auto& identity = loaded->info().identity;
  const auto precision = identity.find("device.precision");  // imported weights name none
  if (precision != identity.end()) section.precision = precision->second;
  if (device.kind == "cpu") LEASEHOLD_RETURN_IF_ERROR(open_kernel_set_of(loaded->info()).status());
  auto compute = make_device(section, NodePlace{}, kTimeoutS);
  if (!compute.ok()) return compute.status().annotated("--device " + device.kind);
  loaded->compute_ = std::move(compute).value();
  LEASEHOLD_ASSIGN_OR_RETURN(loaded->stream_, loaded->compute_.device->create_stream("compute"));
  LEASEHOLD_ASSIGN_OR_RETURN(loaded->config_, model_config_from_map(loaded->info().model));
  if (!loaded->info().tokenizer_json.empty()) {
    LEASEHOLD_ASSIGN_OR_RETURN(
        loaded->tokenizer_,
        parse_tokenizer_json(loaded->info().tokenizer_json, loaded->handle_.path));
  }
  LEASEHOLD_RETURN_IF_ERROR(loaded->load_weights(files));
  return loaded;
}

Status CheckpointModel::load_weights(FileSystem& files) {
  table_ = std::make_unique<ParameterTable>(describe_parameters(config_));
  const DType dtype = compute_.kernels->dtype();
  LEASEHOLD_ASSIGN_OR_RETURN(
      weights_, make_arena(*compute_.device, "parameters", MemoryKind::kDevice, [&](Arena& arena) {
        for (auto& parameter : table_->all())
          parameter->bind_value(arena.allocate(dtype, parameter->local_shape()));
      }));
  // The checkpoint's fp32 weights, in host memory. On a CPU that computes in fp32 these are the
  // parameters themselves.
  std::vector<Tensor> stored;
  std::unique_ptr<Arena> apart;
  if (dtype != DType::kF32 || device().kind() != DeviceKind::kCpu) {
    LEASEHOLD_ASSIGN_OR_RETURN(
        apart, make_arena(device(), "weights", MemoryKind::kPinned, [&](Arena& arena) {
          stored.clear();
          for (auto& parameter : table_->all())
            stored.push_back(arena.allocate(DType::kF32, parameter->local_shape()));
        }));
  } else {
    for (auto& parameter : table_->all()) stored.push_back(parameter->value());
  }
  std::vector<StateSlice> slices;
  for (size_t p = 0; p < stored.size(); ++p) {
    const ParameterSpec& spec = table_->all()[p]->spec();
    slices.push_back({.parameter = spec.name,
                      .kind = StateKind::kWeight,
                      .global_shape = spec.shape,
                      .box = Box::whole(spec.shape),
                      .data = stored[p].flat(0, stored[p].num_elements())});
  }
  LEASEHOLD_RETURN_IF_ERROR(load_checkpoint(files, handle_, slices));
  if (apart) LEASEHOLD_RETURN_IF_ERROR(take_weights(stored));
  LEASEHOLD_ASSIGN_OR_RETURN(model_, create_gpt(config_, *table_));
  return ok_status();
}

Status CheckpointModel::take_weights(const std::vector<Tensor>& stored) {
  const bool is_host = device().kind() == DeviceKind::kCpu;
  const bool converts = kernels().dtype() != DType::kF32;
  int64_t most_elements = 0;
  for (const Tensor& weight : stored)
    most_elements = std::max(most_elements, weight.num_elements());
  Tensor room;  // device memory, for one weight at a time
  std::unique_ptr<Arena> arena;
  if (!is_host && converts) {
    LEASEHOLD_ASSIGN_OR_RETURN(
        arena, make_arena(device(), "a weight", MemoryKind::kDevice, [&](Arena& measured) {
          room = measured.allocate(DType::kF32, {most_elements});
        }));
  }
  for (size_t p = 0; p < stored.size(); ++p) {
    const Tensor value = table_->all()[p]->value();
    Tensor from = stored[p];
    if (!is_host) {
      const Tensor to = converts ? room.flat(0, from.num_elements()).reshape(from.shape()) : value;
      stream_->copy(to.data(), from.data(), from.size_bytes());
      from = to;
    }
    if (converts) kernels().cast(*stream_, from, value);
  }
  return stream_->synchronize(Deadline::after_s(kTimeoutS));
}

Result<const Tokenizer*> CheckpointModel::tokenizer() const {
  if (!tokenizer_) {
    return error(Code::kBadData,
                 "{} holds no tokenizer: the run's data.train had no tokenizer.json next to it "
                 "when it was written",
                 handle_.path);
  }
  LEASEHOLD_RETURN_IF_ERROR(tokenizer_->start());
  return tokenizer_.get();
}

Status CheckpointModel::prepare(int64_t B, int64_t T) {
  const auto prepare_with = [&](Arena& activations, Arena& scratch) {
    return model_->prepare({.kernels = *compute_.kernels,
                            .activations = activations,
                            .scratch = scratch,
                            .B = B,
                            .T = T,
                            .training = false});
  };
  Arena activations = Arena::measuring("activations");
  Arena scratch = Arena::measuring("scratch");
  prepare_with(activations, scratch);
  LEASEHOLD_ASSIGN_OR_RETURN(Arena real_activations,
                             Arena::create(device(), "activations", activations.peak_bytes()));
  LEASEHOLD_ASSIGN_OR_RETURN(Arena real_scratch,
                             Arena::create(device(), "scratch", scratch.peak_bytes()));
  activations_ = std::make_unique<Arena>(std::move(real_activations));
  scratch_ = std::make_unique<Arena>(std::move(real_scratch));
  saved_ = prepare_with(*activations_, *scratch_);
  return ok_status();
}

}  // namespace leasehold
