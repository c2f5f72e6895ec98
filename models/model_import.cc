#include "models/model_import.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/companion_files.h"
#include "models/foreign_model.h"
#include "runtime/data/document_tokens.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

namespace {

using nlohmann::json;

constexpr const char* kNoTokenizer = "none";

// Counts the ids that text can turn into: all but the tokens that were added after the vocabulary.
int64_t num_text_ids(const Tokenizer& tokenizer) {
  const auto plain = split_document_tokens(tokenizer.to_json(), "tokenizer.json");
  const json root =
      plain.ok() ? json::parse(plain->json, nullptr, /*allow_exceptions=*/false) : json();
  if (!root.is_object() || !root.contains("model") || !root["model"].is_object() ||
      !root["model"].contains("vocab") || !root["model"]["vocab"].is_object())
    return tokenizer.vocab_size();
  constexpr int64_t kMostIds = int64_t{1} << 31;  // the most that a tokenizer may have
  int64_t ids = 0;
  for (const json& id : root["model"]["vocab"]) {
    if (id.is_number_integer()) ids = std::max(ids, std::min(id.get<int64_t>(), kMostIds - 1) + 1);
  }
  return ids;
}

bool holds_tokenizer(FileSystem& files, const std::string& folder) {
  for (const char* name : {"tokenizer.json", "vocab.json", "tokenizer.model"}) {
    if (files.exists(join_path(folder, name))) return true;
  }
  return false;
}

// Returns the tokenizer in the form that checkpoints keep, empty for none; `summary` says which. A
// model that came with a tokenizer never loses it silently.
Result<std::string> take_tokenizer(FileSystem& files, const ImportOptions& options,
                                   ImportSummary& summary) {
  if (options.tokenizer == kNoTokenizer) {
    summary.tokenizer = "none, as asked for";
    return std::string();
  }
  const std::string& path = options.tokenizer.empty() ? options.input : options.tokenizer;
  if (options.tokenizer.empty() && !holds_tokenizer(files, path)) {
    summary.tokenizer =
        "none there: sampling needs one, and --tokenizer PATH takes one from elsewhere";
    return std::string();
  }
  constexpr std::string_view kWayOut =
      "name another one with --tokenizer PATH, or import the weights alone with --tokenizer none";
  const auto tokenizer = load_tokenizer(files, path);
  if (!tokenizer.ok()) {
    return Status(tokenizer.status().code(),
                  fmt::format("the model's tokenizer cannot be read: {}; {}",
                              tokenizer.status().message(), kWayOut));
  }
  const int64_t ids = tokenizer.value()->vocab_size(), vocab = summary.config.vocab;
  if (ids > vocab) {
    const int64_t text_ids = num_text_ids(*tokenizer.value());
    if (text_ids > vocab) {
      return error(Code::kBadData,
                   "{}: the tokenizer has {} ids, the model {}: they do not belong together; {}",
                   path, text_ids, vocab, kWayOut);
    }
    summary.notices.push_back(
        fmt::format("the tokenizer's added tokens have ids up to {}, the model {}: those that it "
                    "lacks cannot be used",
                    ids - 1, vocab));
  }
  summary.tokenizer = fmt::format("{}, {} ids", tokenizer.value()->name(), ids);
  const auto& notices = tokenizer.value()->notices();
  summary.notices.insert(summary.notices.end(), notices.begin(), notices.end());
  return tokenizer.value()->to_json();
}

}  // namespace

Result<ImportSummary> import_model(FileSystem& files, const ImportOptions& options) {
  LEASEHOLD_ASSIGN_OR_RETURN(ForeignModel model, open_foreign_model(files, options.input));
  ImportSummary summary;
  summary.config = model.config;
  summary.passed_over = model.passed_over;
  CheckpointInfo info;
  info.lineage = new_lineage();
  info.model = to_map(model.config);
  LEASEHOLD_ASSIGN_OR_RETURN(info.tokenizer_json, take_tokenizer(files, options, summary));
  const bool own_tokenizer = options.tokenizer.empty() && !info.tokenizer_json.empty();
  LEASEHOLD_ASSIGN_OR_RETURN(
      CompanionFiles companions,
      read_companion_files(files, options.input, model.token_ids, own_tokenizer));
  info.model_files = std::move(companions.texts);
  summary.notices.insert(summary.notices.end(), companions.notices.begin(),
                         companions.notices.end());
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
