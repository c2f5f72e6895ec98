#include "tests/support/small_job.h"

#include <algorithm>
#include <map>

#include "models/gpt.h"
#include "runtime/base/digest.h"
#include "runtime/comm/host_exchange.h"

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
  options.bucket_bytes =
      4 * 3 * Kernels::kChunk;  // several buckets, parameters across their borders
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

SmallRank::SmallRank(const SmallJob& job, const std::string& token_path, Communicator& world)
    : device_(CpuDevice::create(job.device)),
      kernels_(create_cpu_kernels(*device_)),
      stream_(device_->create_stream("test").value()),
      loader_(WindowLoader::create(TokenFile::open(posix_files(), token_path).value(),
                                   job.options.T, job.model.vocab, job.options.seed)
                  .value()),
      mesh_(Mesh::create(world, job.mesh_of(world.size())).value()) {
  engine_ =
      Engine::create(*device_, *kernels_, mesh_, gpt_source(job.model), job.options).value();
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

std::string gathered_state_digest(const Engine& engine, Communicator& world, Stream& stream) {
  // Slices as text keys and raw bytes: "<parameter> <kind> <begin, 20 digits>\n<num
  // bytes>\n<bytes>".
  std::string mine;
  for (const StateSlice& slice : engine.owned_slices()) {
    mine += fmt::format("{} {} {:020}\n{}\n", slice.parameter, state_kind_name(slice.kind),
                        slice.begin, slice.data.size_bytes());
    mine.append(static_cast<const char*>(slice.data.data()),
                static_cast<size_t>(slice.data.size_bytes()));
  }
  const auto all = all_gather_bytes(world, stream, mine, Deadline::after_s(60)).value();
  std::map<std::string, std::string> sorted;
  for (const std::string& text : all) {
    for (size_t at = 0; at < text.size();) {
      const size_t key_end = text.find('\n', at);
      const size_t size_end = text.find('\n', key_end + 1);
      const size_t size = std::stoull(text.substr(key_end + 1, size_end - key_end - 1));
      sorted[text.substr(at, key_end - at)] = text.substr(size_end + 1, size);
      at = size_end + 1 + size;
    }
  }
  // Where one slice ends and the next begins depends on the layout, so only names and bytes count.
  Digester digester;
  std::string last;
  for (const auto& [key, bytes] : sorted) {
    const std::string tensor = key.substr(0, key.rfind(' '));
    if (tensor != last) digester.update(tensor);
    last = tensor;
    digester.update(bytes);
  }
  return digester.finish().to_hex();
}

}  // namespace leasehold
