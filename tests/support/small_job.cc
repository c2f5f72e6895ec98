#include "tests/support/small_job.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <sstream>

#include "collectives/nccl.h"
#include "models/gpt.h"
#include "runtime/base/digest.h"
#include "runtime/checkpoint/reshard.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/device/cuda.h"
#include "runtime/tensor/kernels_cuda.h"

namespace leasehold {

SmallJob::SmallJob() {
  model = complete_model_config(
              {.layers = 2, .hidden = 32, .heads = 4, .sequence = 12, .vocab = 61, .dropout = 0.1})
              .value();
  options.B = 2;
  options.T = 12;
  options.batch = {.num_microbatches = 8, .num_lanes = 8};
  options.steps = 50;
  options.seed = 1234;
  options.optimizer = {
      .lr = 3e-3, .min_lr = 3e-4, .warmup_steps = 5, .weight_decay = 0.1, .grad_clip = 1.0};
  options.timeout_s = 60;
  // Several buckets, with parameters across their borders.
  options.bucket_bytes = 4 * 3 * Kernels::kChunk;
}

MeshShape SmallJob::mesh_of(int num_ranks) const {
  return {.data = num_ranks / pipeline / tensor, .pipeline = pipeline, .tensor = tensor};
}

void write_random_tokens(const std::string& path, int64_t num_tokens, int64_t vocab,
                         uint64_t seed) {
  std::string content = make_token_header(num_tokens, 2);
  const RandomSite site = RandomSite::make(seed, "tokens");
  for (int64_t i = 0; i < num_tokens; ++i) {
    const auto token = site.word(static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab);
    content.push_back(static_cast<char>(token & 0xff));
    content.push_back(static_cast<char>(token >> 8));
  }
  throw_if_error(publish_file(posix_files(), path, content, "test"));
}

namespace {

std::unique_ptr<Device> make_device(const SmallJob& job, int rank) {
  if (job.device_kind == DeviceKind::kCpu) return CpuDevice::create(job.device);
  return create_cuda_device(rank, job.options.timeout_s).value();
}

std::unique_ptr<Kernels> make_kernels(const SmallJob& job, Device& device) {
  if (job.device_kind == DeviceKind::kCuda) {
    return create_cuda_kernels(device, job.precision).value();
  }
  return create_cpu_kernels(static_cast<CpuDevice&>(device), job.precision);
}

Mesh::GroupMaker make_groups(const SmallJob& job, Device& device) {
  if (job.device_kind == DeviceKind::kCpu) return nullptr;
  return [&device, timeout_s = job.options.timeout_s](Communicator& group, GroupUse use) {
    return create_nccl_communicator(group, device, group.name(), timeout_s, {.use = use});
  };
}

}  // namespace

SmallRank::SmallRank(const SmallJob& job, const std::string& token_path, Communicator& world)
    : device_(make_device(job, world.rank())),
      kernels_(make_kernels(job, *device_)),
      host_(CpuDevice::create({})),
      stream_(host_->create_stream("test").value()),
      loader_(WindowLoader::create(TokenFile::open(posix_files(), token_path).value(),
                                   job.options.T, job.model.vocab, job.options.seed)
                  .value()),
      mesh_(Mesh::create(world, job.mesh_of(world.size()), make_groups(job, *device_)).value()) {
  engine_ = Engine::create(*device_, *kernels_, mesh_, gpt_source(job.model), job.options).value();
  throw_if_error(engine_->initialize());
}

std::vector<std::string> SmallRank::run(int64_t begin, int64_t end) {
  std::vector<std::string> lines;
  for (int64_t step = begin; step < end; ++step) {
    const StepResult result = engine_->run_step(step, loader_, {}).value();
    lines.push_back(fmt::format("{:.17g} {:.17g}", result.loss, result.gradient_norm));
  }
  return lines;
}

namespace {

// Packs one slice as text: a line that describes it, then its bytes.
std::string pack(const StateSlice& slice) {
  std::vector<int64_t> numbers(slice.box.offset.begin(), slice.box.offset.end());
  const auto extents = slice.box.extent.extents();
  const auto globals = slice.global_shape.extents();
  numbers.insert(numbers.end(), extents.begin(), extents.end());
  numbers.insert(numbers.end(), globals.begin(), globals.end());
  std::string text =
      fmt::format("{} {} {} {} {} {}\n", slice.parameter, state_kind_name(slice.kind), slice.begin,
                  slice.data.num_elements(), globals.size(), fmt::join(numbers, " "));
  return text.append(static_cast<const char*>(slice.data.data()),
                     static_cast<size_t>(slice.data.size_bytes()));
}

}  // namespace

std::string gathered_state_digest(Engine& engine, Communicator& world, Stream& stream) {
  std::string mine;
  engine.begin_capture();
  throw_if_error(engine.wait_captured());
  for (const StateSlice& slice : engine.owned_slices()) mine += pack(slice);
  const auto all = all_gather_bytes(world, stream, mine, Deadline::after_s(60)).value();
  std::map<std::string, std::vector<float>> tensors;  // whole tensors by "parameter kind"
  for (const std::string& text : all) {
    for (size_t at = 0; at < text.size();) {
      const size_t line_end = text.find('\n', at);
      std::istringstream line(text.substr(at, line_end - at));
      std::string parameter, kind;
      int64_t begin = 0, count = 0, num_dims = 0;
      line >> parameter >> kind >> begin >> count >> num_dims;
      Box box;
      std::vector<int64_t> extents(static_cast<size_t>(num_dims)), globals(extents.size());
      for (auto* numbers : {box.offset.data(), extents.data(), globals.data()}) {
        const int64_t length = numbers == box.offset.data() ? Shape::kMaxDims : num_dims;
        for (int64_t i = 0; i < length; ++i) line >> numbers[i];
      }
      box.extent = Shape(std::span<const int64_t>(extents));
      const Shape global{std::span<const int64_t>(globals)};
      std::vector<float>& whole = tensors[fmt::format("{} {}", parameter, kind)];
      whole.resize(static_cast<size_t>(global.num_elements()));
      std::vector<float> values(static_cast<size_t>(count));
      std::memcpy(values.data(), text.data() + line_end + 1, values.size() * sizeof(float));
      copy_shared({box, begin, begin + count}, values.data(),
                  {Box::whole(global), 0, global.num_elements()}, whole.data());
      at = line_end + 1 + values.size() * sizeof(float);
    }
  }
  Digester digester;
  for (const auto& [name, values] : tensors) {
    digester.update(name);
    digester.update({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  }
  return digester.finish().to_hex();
}

}  // namespace leasehold
