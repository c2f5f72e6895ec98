#include "launch/commands_model.h"

#include <csignal>
#include <unistd.h>

namespace leasehold {

namespace {

// A signal handler can reach nothing else.
std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

void request_stop(int) { stop_requested.store(true); }

const std::atomic<bool>* stop_on_signals() {
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  return &stop_requested;
}

}  // namespace

Status run_import(ImportOptions options, const Logger& logger) {
  options.tag = std::to_string(::getpid());
  options.stopped = stop_on_signals();
  LEASEHOLD_ASSIGN_OR_RETURN(const ImportSummary summary, import_model(posix_files(), options));
  const ModelConfig& model = summary.config;
  logger.info("{}: a {} of {} layers, {} channels, {} ids: {} parameters at step 0", options.output,
              model.family, model.layers, model.hidden, model.vocab, summary.num_parameters);
  logger.info("tokenizer: {}", summary.tokenizer);
  return ok_status();
}

Status run_export(ExportOptions options, const Logger& logger) {
  options.tag = std::to_string(::getpid());
  options.stopped = stop_on_signals();
  LEASEHOLD_ASSIGN_OR_RETURN(const ExportSummary summary, export_model(posix_files(), options));
  logger.info("{}: {} tensors, {} bytes in {} file{} from {}", options.output, summary.num_tensors,
              summary.total_bytes, summary.num_files, summary.num_files == 1 ? "" : "s",
              summary.checkpoint);
  logger.info("tokenizer: {}", summary.tokenizer);
  return ok_status();
}

}  // namespace leasehold
