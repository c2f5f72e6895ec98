#include "launch/commands_model.h"

#include <unistd.h>

#include "launch/stop_signals.h"

namespace leasehold {

Status run_import(ImportOptions options, const Logger& logger) {
  options.tag = std::to_string(::getpid());
  options.stopped = &catch_stop_signals();
  LEASEHOLD_ASSIGN_OR_RETURN(const ImportSummary summary, import_model(posix_files(), options));
  const ModelConfig& model = summary.config;
  if (!summary.passed_over.empty()) {
    logger.info("config.json: ignored, because they do not change the model's results: {}",
                fmt::join(summary.passed_over, ", "));
  }
  for (const std::string& notice : summary.notices) logger.info("{}", notice);
  logger.info("{}: a {} model of {} layers, {} channels, {} token ids and {} parameters, at step 0",
              options.output, model.family, model.layers, model.hidden, model.vocab,
              summary.num_parameters);
  logger.info("tokenizer: {}", summary.tokenizer);
  return ok_status();
}

Status run_export(ExportOptions options, const Logger& logger) {
  options.tag = std::to_string(::getpid());
  options.stopped = &catch_stop_signals();
  LEASEHOLD_ASSIGN_OR_RETURN(const ExportSummary summary, export_model(posix_files(), options));
  logger.info("{}: {} tensors, {} bytes in {} file{} from {}", options.output, summary.num_tensors,
              summary.total_bytes, summary.num_files, summary.num_files == 1 ? "" : "s",
              summary.checkpoint);
  logger.info("tokenizer: {}", summary.tokenizer);
  return ok_status();
}

}  // namespace leasehold
