#include "models/model_import.h"

#include <utility>
#include <vector>

#include "models/foreign_model.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxTokenizerBytes = int64_t{256} << 20;

// The content of a tokenizer.json that is of use to the model, or nothing; `story` says which.
std::string read_tokenizer(FileSystem& files, const std::string& folder, const ModelConfig& config,
                           std::string& story) {
  const std::string path = join_path(folder, "tokenizer.json");
  Result<std::string> text = read_file(files, path, kMaxTokenizerBytes);
  if (!text.ok()) {
    story = text.status().code() == Code::kMissingInput ? "none: there is no tokenizer.json"
                                                        : "none: " + text.status().message();
    return "";
  }
  const auto tokenizer = parse_tokenizer_json(*text, path);
  if (!tokenizer.ok()) {
    story = "none: " + tokenizer.status().message();
    return "";
  }
  if (tokenizer.value()->vocab_size() > config.vocab) {
    story = fmt::format("none: {} has {} ids, the model {}", path, tokenizer.value()->vocab_size(),
                        config.vocab);
    return "";
  }
  story = fmt::format("{}, {} ids", tokenizer.value()->name(), tokenizer.value()->vocab_size());
  return std::move(text).value();
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
