#include "bench/model_bench.h"

#include "bench/text_ids.h"
#include "runtime/base/files.h"
#include "runtime/base/random.h"

namespace leasehold {

namespace {

constexpr int64_t kBatches = 8;

struct NamedModel {
  const char* name;
  ModelConfig config;
};
// Radford et al., "Language Models are Unsupervised Multitask Learners", table 2, with the number
// of parameters that the sizes come to; Zhang et al., "TinyLlama", arXiv:2401.02385, table 1; and
// Llama 3.1 8B (arXiv:2407.21783, table 3) cut to 8 of its 32 layers, so that one GPU holds it, and
// Llama 3.1 405B of the same table, for what is planned alone.
const NamedModel kModels[] = {
    {"gpt2-124m", {.layers = 12, .hidden = 768, .heads = 12, .vocab = 50257}},
    {"gpt2-355m", {.layers = 24, .hidden = 1024, .heads = 16, .vocab = 50257}},
    {"gpt2-774m", {.layers = 36, .hidden = 1280, .heads = 20, .vocab = 50257}},
    {"gpt2-1558m", {.layers = 48, .hidden = 1600, .heads = 25, .vocab = 50257}},
    {"llama-1100m",
     {.family = "llama",
      .layers = 22,
      .hidden = 2048,
      .heads = 32,
      .kv_heads = 4,
      .ffn = 5632,
      .vocab = 32000}},
    {"llama3-8b-quarter",
     {.family = "llama",
      .layers = 8,
      .hidden = 4096,
      .heads = 32,
      .kv_heads = 8,
      .ffn = 14336,
      .vocab = 128256,
      .rope_theta = 500000}},
    {"llama3-405b",
     {.family = "llama",
      .layers = 126,
      .hidden = 16384,
      .heads = 128,
      .kv_heads = 8,
      .ffn = 53248,
      .vocab = 128256,
      .rope_theta = 500000}},
};

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const NamedModel& model : kModels) names.emplace_back(model.name);
  return names;
}

// The sequence stays.
void take_model(ModelConfig& model, const std::string& name) {
  for (const NamedModel& named : kModels) {
    if (named.name != name) continue;
    const int64_t sequence = model.sequence;
    model = named.config;
    model.sequence = sequence;
  }
}

Status measure_as_rank(ModelConfig& model, ProcessGroup& processes,
                       const std::function<Status(ProcessGroup&)>& measure) {
  LEASEHOLD_ASSIGN_OR_RETURN(model, complete_model_config(model));
  LEASEHOLD_RETURN_IF_ERROR(measure(processes));
  return processes.finish();
}

}  // namespace

void add_model_options(CLI::App& app, ModelConfig& model) {
  // First: options are taken in this order, whatever the order on the command line.
  app.add_option_function<std::string>(
         "--model", [&model](const std::string& name) { take_model(model, name); },
         "Sizes by name (default: gpt2-124m), which the options below replace one by one")
      ->check(CLI::IsMember(model_names()));
  app.add_option("--family", model.family)->check(CLI::IsMember({"gpt2", "llama"}));
  app.add_option("--sequence", model.sequence, "Tokens of a sequence")->capture_default_str();
  app.add_option("--layers", model.layers)->capture_default_str();
  app.add_option("--hidden", model.hidden)->capture_default_str();
  app.add_option("--heads", model.heads)->capture_default_str();
  app.add_option("--kv-heads", model.kv_heads, "0: as many as heads")->capture_default_str();
  app.add_option("--ffn", model.ffn, "0: the family's")->capture_default_str();
  app.add_option("--vocab", model.vocab)->capture_default_str();
}

WindowLoader make_random_loader(const std::string& path, const ModelConfig& model,
                                int64_t sequences_of_batch) {
  const int64_t num_tokens = sequences_of_batch * model.sequence * kBatches + 1;
  const int token_bytes = model.vocab > 65536 ? 4 : 2;
  std::string content = make_token_header(num_tokens, token_bytes);
  const RandomSite site = RandomSite::make(1, "tokens");
  for (int64_t i = 0; i < num_tokens; ++i) {
    const auto token =
        static_cast<uint32_t>(text_id(site.uniform(static_cast<uint64_t>(i)), model.vocab));
    for (int byte = 0; byte < token_bytes; ++byte)
      content.push_back(static_cast<char>(token >> (8 * byte)));
  }
  throw_if_error(publish_file(posix_files(), path, content, "bench"));
  WindowLoader loader = WindowLoader::create(TokenFile::open(posix_files(), path).value(),
                                             model.sequence, model.vocab, 1)
                            .value();
  throw_if_error(posix_files().remove_all(path));  // the map keeps it
  return loader;
}

int run_model_bench(CLI::App& app, ModelConfig& model, int argc, char** argv,
                    const std::function<Status(ProcessGroup&)>& measure) {
  CLI11_PARSE(app, argc, argv);
  Status status;
  try {
    auto processes = ProcessGroup::create({});
    status = processes.ok() ? measure_as_rank(model, **processes, measure) : processes.status();
    if (!status.ok()) {
      fmt::print(stderr, "{}: {}\n", app.get_name(), status.message());
      std::fflush(nullptr);
      ::_exit(status.exit_code());
    }
    return 0;
  } catch (const std::exception& caught) {
    fmt::print(stderr, "{}: {}\n", app.get_name(), caught.what());
    std::fflush(nullptr);
    ::_exit(static_cast<int>(Code::kInternal));
  }
}

}  // namespace leasehold
