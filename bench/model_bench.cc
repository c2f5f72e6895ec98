#include "bench/model_bench.h"

#include "runtime/base/files.h"
#include "runtime/base/random.h"

namespace leasehold {

namespace {

constexpr int64_t kBatches = 8;

Status measure_as_rank(ModelConfig& model, ProcessGroup& processes,
                       const std::function<Status(ProcessGroup&)>& measure) {
  LEASEHOLD_ASSIGN_OR_RETURN(model, complete_model_config(model));
  LEASEHOLD_RETURN_IF_ERROR(measure(processes));
  return processes.finish();
}

}  // namespace

void add_model_options(CLI::App& app, ModelConfig& model) {
  app.add_option("--sequence", model.sequence, "Tokens of a sequence")->capture_default_str();
  app.add_option("--layers", model.layers)->capture_default_str();
  app.add_option("--hidden", model.hidden)->capture_default_str();
  app.add_option("--heads", model.heads)->capture_default_str();
  app.add_option("--vocab", model.vocab)->capture_default_str();
}

WindowLoader make_random_loader(const std::string& path, const ModelConfig& model,
                                int64_t sequences_of_batch) {
  const int64_t num_tokens = sequences_of_batch * model.sequence * kBatches + 1;
  std::string content = make_token_header(num_tokens, 2);
  const RandomSite site = RandomSite::make(1, "tokens");
  for (int64_t i = 0; i < num_tokens; ++i) {
    const uint32_t token = site.word(static_cast<uint64_t>(i)) % static_cast<uint32_t>(model.vocab);
    content.push_back(static_cast<char>(token & 0xff));
    content.push_back(static_cast<char>(token >> 8));
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
