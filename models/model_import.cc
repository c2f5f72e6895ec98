#include "models/model_import.h"

#include <utility>
#include <vector>

#include "models/foreign_model.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

namespace {

// The folder's tokenizer as checkpoints keep it, or nothing; `story` says which and why.
std::string read_tokenizer(FileSystem& files, const std::string& folder, const ModelConfig& config,
                           std::string& story) {
  const auto holds = [&](const char* name) { return files.exists(join_path(folder, name)); };
  if (!holds("tokenizer.json") && !holds("vocab.json") && !holds("tokenizer.model")) {
    story = "none there";
    return "";
  }
  const auto tokenizer = load_tokenizer(files, folder);
  if (!tokenizer.ok()) {
    story = "not taken: " + tokenizer.status().message();
    return "";
  }
  const int64_t ids = tokenizer.value()->vocab_size();
  if (ids > config.vocab) {
    story = fmt::format("not taken: it has {} ids, the model {}", ids, config.vocab);
    return "";
  }
  story = fmt::format("{}, {} ids", tokenizer.value()->name(), ids);
  return tokenizer.value()->to_json();
}

}  // namespace

Result<ImportSummary> import_model(FileSystem& files, const ImportOptions& options) {
  LEASEHOLD_ASSIGN_OR_RETURN(ForeignModel model, open_foreign_model(files, options.input));
  ImportSummary summary;
  summary.config = model.config;
  CheckpointInfo info;
  info.lineage = new_lineage();
  info.model = to_map(model.config);
  info.tokenizer_json = read_tokenizer(files, options.input, model.config, summary.tokenizer);
  std::vector<WeightShape> shapes;
  for (const MappedParameter& parameter : model.mapping.parameters) {
    shapes.push_back({parameter.name, parameter.shape});
    summary.num_parameters += parameter.shape.num_elements();
  }
  const auto fill = [&](size_t index, std::span<float> values) -> Status {
    if (options.stopped != nullptr && options.stopped->load())
      return error(Code::kDrained, "stopped: {} was not written", options.output);
    return read_parameter(model, index, values);
  };
  LEASEHOLD_RETURN_IF_ERROR(write_weights_checkpoint(files, options.output, options.tag, info,
                                                     shapes, fill, options.file_bytes));
  return summary;
}

}  // namespace leasehold
